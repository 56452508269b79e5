package commands

// CreatePreferences notes the channels a new user allows. It is handled by module preferences.
type CreatePreferences struct {
	UserID string `json:"user_id"`
	Email  bool   `json:"email"`
	Push   bool   `json:"push"`
}

// AddPreferences notes the channels of users who come complete. It is handled by module preferences.
type AddPreferences struct {
	Users []User `json:"users"`
}
