package events

// PreferencesChanged tells which channels a user allows now, and which of them changed.
type PreferencesChanged struct {
	UserID  string   `json:"user_id"`
	Email   bool     `json:"email"`
	Push    bool     `json:"push"`
	Changed []string `json:"changed"`
}

// Type implements Event.
func (PreferencesChanged) Type() string { return "user.preferences_changed" }

// Source implements Event.
func (PreferencesChanged) Source() string { return "preferences" }

// Subject implements Event.
func (e PreferencesChanged) Subject() string { return e.UserID }
