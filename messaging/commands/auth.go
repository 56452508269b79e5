package commands

// DeactivateAccount ends an account softly: it stays, inactive, and every session of it ends. It is
// handled by module auth.
type DeactivateAccount struct {
	UserID string `json:"user_id"`
	By     string `json:"by"` // who wants it, a user id
}
