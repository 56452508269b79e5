package events

// ProfileUpdated tells of a change a user made to the profile.
type ProfileUpdated struct {
	UserID  string   `json:"user_id"`
	Name    string   `json:"name"`
	Changed []string `json:"changed"` // names of the fields that changed
}

// PushTokenChanged tells of a new device token, or none. Reason is user, unregistered (its
// provider called it dead) or moved (it turned up with another user).
type PushTokenChanged struct {
	UserID    string  `json:"user_id"`
	PushToken *string `json:"push_token"`
	Reason    string  `json:"reason"`
}

// Type implements Event.
func (ProfileUpdated) Type() string { return "user.profile_updated" }

// Source implements Event.
func (ProfileUpdated) Source() string { return "profile" }

// Subject implements Event.
func (e ProfileUpdated) Subject() string { return e.UserID }

// Type implements Event.
func (PushTokenChanged) Type() string { return "user.push_token_changed" }

// Source implements Event.
func (PushTokenChanged) Source() string { return "profile" }

// Subject implements Event.
func (e PushTokenChanged) Subject() string { return e.UserID }
