// Package ctxvalue keeps one value of each type in a context. It costs one allocation, where
// context.WithValue costs two, and every request has several of them.
package ctxvalue

import "context"

type holder[T any] struct {
	context.Context
	value T
}

type key[T any] struct{}

// With gives a context that holds value, instead of another one of its type.
func With[T any](ctx context.Context, value T) context.Context { return &holder[T]{ctx, value} }

// Value implements context.Context.
func (h *holder[T]) Value(asked any) any {
	if asked == (key[T]{}) {
		return &h.value
	}
	return h.Context.Value(asked)
}

// From gives the T that ctx holds; ok is false, and it is the zero T, when there is none.
func From[T any](ctx context.Context) (value T, ok bool) {
	if held, ok := ctx.Value(key[T]{}).(*T); ok {
		return *held, true
	}
	return value, false
}
