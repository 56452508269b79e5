// Package commands holds what one module asks of another: imperative, one handler each. They are
// plain values that survive marshalling, so that a module can move out of the process.
package commands

import "time"

// User is the answer to DescribeUser, and the `user` of the API.
type User struct {
	ID            string      `json:"id"`
	UserID        string      `json:"user_id"`
	Email         string      `json:"email"`
	Name          string      `json:"name"`
	PushToken     *string     `json:"push_token"`
	Preferences   Preferences `json:"preferences"`
	EmailVerified bool        `json:"email_verified"`
	IsActive      bool        `json:"is_active"`
	IsStaff       bool        `json:"is_staff"`
	CreatedAt     time.Time   `json:"created_at"`
	UpdatedAt     time.Time   `json:"updated_at"`
}

// Preferences are the channels a user allows.
type Preferences struct {
	Email bool `json:"email"`
	Push  bool `json:"push"`
}
