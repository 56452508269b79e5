package events

// UserRegistered tells of a new account with its first profile and preferences.
type UserRegistered struct {
	UserID      string      `json:"user_id"`
	Email       string      `json:"email"`
	Name        string      `json:"name"`
	PushToken   *string     `json:"push_token"`
	Preferences Preferences `json:"preferences"`
}

// Preferences are the channels a user allows.
type Preferences struct {
	Email bool `json:"email"`
	Push  bool `json:"push"`
}

// UserLoggedIn tells of a new session by password.
type UserLoggedIn struct {
	UserID    string `json:"user_id"`
	SessionID string `json:"session_id"`
}

// UserDeactivated tells that an account became inactive, and by whom.
type UserDeactivated struct {
	UserID string `json:"user_id"`
	By     string `json:"by"`
}

// UserReactivated tells that an account is active again, and by whom.
type UserReactivated struct {
	UserID string `json:"user_id"`
	By     string `json:"by"`
}

// EmailVerified tells that the user has proved to read the mail of this address.
type EmailVerified struct {
	UserID string `json:"user_id"`
	Email  string `json:"email"`
}

// PasswordChanged tells that the password is another one. Reason is change or reset.
type PasswordChanged struct {
	UserID string `json:"user_id"`
	Reason string `json:"reason"`
}

// SessionRevoked tells that a session ended before its time, or all of a user's when SessionID is nil.
type SessionRevoked struct {
	UserID    string  `json:"user_id"`
	SessionID *string `json:"session_id"`
	Reason    string  `json:"reason"`
}

// Type implements Event.
func (UserRegistered) Type() string { return "user.registered" }

// Source implements Event.
func (UserRegistered) Source() string { return "auth" }

// Subject implements Event.
func (e UserRegistered) Subject() string { return e.UserID }

// Type implements Event.
func (UserLoggedIn) Type() string { return "user.logged_in" }

// Source implements Event.
func (UserLoggedIn) Source() string { return "auth" }

// Subject implements Event.
func (e UserLoggedIn) Subject() string { return e.UserID }

// Type implements Event.
func (UserDeactivated) Type() string { return "user.deactivated" }

// Source implements Event.
func (UserDeactivated) Source() string { return "auth" }

// Subject implements Event.
func (e UserDeactivated) Subject() string { return e.UserID }

// Type implements Event.
func (SessionRevoked) Type() string { return "session.revoked" }

// Source implements Event.
func (SessionRevoked) Source() string { return "auth" }

// Subject implements Event.
func (e SessionRevoked) Subject() string { return e.UserID }

// Type implements Event.
func (UserReactivated) Type() string { return "user.reactivated" }

// Source implements Event.
func (UserReactivated) Source() string { return "auth" }

// Subject implements Event.
func (e UserReactivated) Subject() string { return e.UserID }

// Type implements Event.
func (EmailVerified) Type() string { return "user.email_verified" }

// Source implements Event.
func (EmailVerified) Source() string { return "auth" }

// Subject implements Event.
func (e EmailVerified) Subject() string { return e.UserID }

// Type implements Event.
func (PasswordChanged) Type() string { return "user.password_changed" }

// Source implements Event.
func (PasswordChanged) Source() string { return "auth" }

// Subject implements Event.
func (e PasswordChanged) Subject() string { return e.UserID }
