package commands

// CreatePreferences notes the channels a new user allows. It is handled by module preferences.
type CreatePreferences struct {
	UserID string `json:"user_id"`
	Email  bool   `json:"email"`
	Push   bool   `json:"push"`
}
