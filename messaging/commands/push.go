package commands

// AddRecipients tells module push of users who come complete; it knows others by their registration.
type AddRecipients struct {
	Users []User `json:"users"`
}
