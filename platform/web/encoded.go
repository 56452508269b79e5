package web

import "reflect"

// Encoded is a T as JSON, for data that is at hand in this form: it goes out as it is.
type Encoded[T any] []byte

// MarshalJSON implements json.Marshaler.
func (e Encoded[T]) MarshalJSON() ([]byte, error) { return e, nil }

func (e Encoded[T]) json() []byte { return e }

func (Encoded[T]) decoded() reflect.Type { return reflect.TypeFor[T]() }

// dataType is what clients see of an Out.
func dataType[Out any]() reflect.Type {
	if e, ok := any(*new(Out)).(interface{ decoded() reflect.Type }); ok {
		return e.decoded()
	}
	return reflect.TypeFor[Out]()
}
