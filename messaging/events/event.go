// Package events holds what modules tell each other and the world: past tense, carrying the state
// that came about. A field may be added; any other change is a new type beside the old. No event
// carries a password, a hash or a one-time token.
package events

// Event is a fact about one user.
type Event interface {
	// Type is the CloudEvents type and the routing key: user.registered.
	Type() string
	// Source is the module that publishes it.
	Source() string
	// Subject is the id of the user it is about.
	Subject() string
}
