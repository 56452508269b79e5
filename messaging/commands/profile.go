package commands

import "time"

// CreateProfile makes the profile of a new account; the answer is the User. It is handled by module profile.
type CreateProfile struct {
	UserID      string      `json:"user_id"`
	Name        string      `json:"name"`
	Email       string      `json:"email"`
	PushToken   *string     `json:"push_token"`
	Preferences Preferences `json:"preferences"`
}

// DescribeUser asks module profile how others see a user; the answer is a User.
type DescribeUser struct {
	UserID string `json:"user_id"`
}

// ForgetPushToken removes a device token that its provider called dead, unless the user has
// registered one since. The answer is a bool: whether the user has no token now. It is handled by
// module profile.
type ForgetPushToken struct {
	UserID    string     `json:"user_id"`
	PushToken string     `json:"push_token"`
	Before    *time.Time `json:"before,omitempty"` // when the provider last knew it to be invalid; nil: it is invalid now
}

// SetStaff notes whether a user belongs to the staff. It is handled by module profile.
type SetStaff struct {
	UserID  string `json:"user_id"`
	IsStaff bool   `json:"is_staff"`
}

// AddProfiles makes the profiles of users who come complete, with flags and times: imported ones, or
// a superuser. It is handled by module profile.
type AddProfiles struct {
	Users []User `json:"users"`
}
