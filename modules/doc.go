// Package modules holds the four parts of the service. Each owns a database schema, and they talk
// only through package messaging. The package comment of each is its card: what it owns, serves,
// handles, sends, publishes and follows; a test keeps the card true.
package modules
