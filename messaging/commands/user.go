// Package commands holds what one module asks of another: imperative, one handler each. They are
// plain values that survive marshalling, so that a module can move out of the process.
package commands

import "time"

// User is the answer to DescribeUser, and the `user` of the API.
type User struct {
	ID            string      `json:"id" doc:"Id." format:"uuid" example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	UserID        string      `json:"user_id" doc:"Id of the user." format:"uuid" example:"0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"`
	Email         string      `json:"email" doc:"Address of e-mail; its case does not matter." format:"email" example:"ada@example.com"`
	Name          string      `json:"name" doc:"What the user is called." maxLength:"255" example:"Ada Lovelace"`
	PushToken     *string     `json:"push_token" doc:"Token of the user's device; null: none." example:"device-1"`
	Preferences   Preferences `json:"preferences" doc:"Channels the user allows."`
	EmailVerified bool        `json:"email_verified" doc:"Whether the user has shown to read mail at this address." example:"true"`
	IsActive      bool        `json:"is_active" doc:"Whether the account is open." example:"true"`
	IsStaff       bool        `json:"is_staff" doc:"Whether the user belongs to the staff." example:"false"`
	CreatedAt     time.Time   `json:"created_at" doc:"When it was made."`
	UpdatedAt     time.Time   `json:"updated_at" doc:"When it was changed last."`
}

// Preferences are the channels a user allows.
type Preferences struct {
	Email bool `json:"email" doc:"Whether notifications may come by e-mail." example:"true"`
	Push  bool `json:"push" doc:"Whether notifications may come to the device." example:"true"`
}
