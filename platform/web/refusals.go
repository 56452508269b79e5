package web

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"user-service/platform/fault"
	"user-service/platform/idempotency"
	"user-service/platform/identity"
)

// Writes reports whether a request changes something, and may carry an X-Request-ID.
func (r Route) Writes() bool { return r.Method != http.MethodGet }

// Limited reports whether asking too often is refused.
func (r Route) Limited() bool { return r.Access != Open || r.PerAddress.Rate > 0 }

// Refusals are the faults that a request can be answered with: the endpoint's own, and what follows
// from who may call it and what it takes.
func (r Route) Refusals() []*fault.Fault {
	refusals := append(slices.Clone(r.Faults), errHost, fault.From(nil))
	if r.Document == nil {
		refusals = append(refusals, fault.Away(nil))
	}
	switch r.Access {
	case Bearer:
		refusals = append(refusals, identity.ErrNotAuthenticated, identity.ErrTokenInvalid, identity.ErrTokenExpired)
	case Service:
		refusals = append(refusals, identity.ErrNoServiceKey, identity.ErrServiceKeyInvalid, identity.ErrTokenExpired, identity.ErrForbidden)
	case Staff:
		refusals = append(refusals, identity.ErrNotAuthenticated, identity.ErrTokenInvalid, identity.ErrTokenExpired, identity.ErrForbidden)
	}
	if r.Limited() {
		refusals = append(refusals, fault.TooMany(time.Second))
	}
	if r.TakesBody() {
		refusals = append(refusals, errNotJSON, errSyntax, errTooLarge, errTooSlow)
	}
	if r.Writes() {
		refusals = append(refusals, idempotency.ErrRunning, idempotency.ErrReused)
	}
	if strings.Contains(r.Path, "{id}") {
		refusals = append(refusals, ErrNoSuchAddress)
	}
	if invalid := r.invalid(); invalid != nil {
		refusals = append(refusals, invalid)
	}
	return refusals
}

// invalid is an example of what is said of a field.
func (r Route) invalid() *fault.Fault {
	for field := range r.In.Fields() {
		for _, tag := range []string{"json", "query"} {
			if name := field.Tag.Get(tag); name != "" {
				return fault.From(fault.Fields{name: {"This field is required."}}.Err())
			}
		}
	}
	if r.Writes() {
		return fault.From(errRequestID)
	}
	return nil
}

// StatusOf is the status that a fault is answered with.
func StatusOf(f *fault.Fault) int { return statuses[f.Kind] }

// NullableOf gives what a Nullable may hold.
func NullableOf(t reflect.Type) (held reflect.Type, ok bool) {
	if t.Kind() != reflect.Struct || !reflect.PointerTo(t).Implements(reflect.TypeFor[nullable]()) {
		return nil, false
	}
	value, _ := t.FieldByName("Value")
	return value.Type.Elem(), true
}

// ItemOf gives what a List is a page of.
func ItemOf(t reflect.Type) (item reflect.Type, ok bool) {
	if !t.Implements(reflect.TypeFor[paged]()) {
		return nil, false
	}
	items, _ := t.FieldByName("Items")
	return items.Type.Elem(), true
}

// paged is a List of whatever it is.
type paged interface {
	list() (items any, meta *Meta)
}
