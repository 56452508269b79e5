package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/platform/fault"
)

var errTaken = fault.New(fault.Invalid, "taken", "It is taken.")

func TestFaultIsFoundWhereverItIsWrapped(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errTaken, fmt.Errorf("add account: %w", errTaken), errors.Join(errors.New("also"), errTaken)} {
		require.Same(t, errTaken, fault.From(err))
		require.ErrorIs(t, err, errTaken)
	}
	require.ErrorIs(t, fault.New(fault.Invalid, "taken", "Other words."), errTaken, "a code is what makes a fault the same")
	require.NotErrorIs(t, fault.New(fault.Invalid, "free", "It is taken."), errTaken)
}

func TestAnyOtherErrorIsOursAndItsTextStaysInside(t *testing.T) {
	t.Parallel()
	cause := errors.New("pq: secret")
	f := fault.From(fmt.Errorf("add: %w", cause))
	require.Equal(t, fault.Internal, f.Kind)
	require.Equal(t, "internal_error", f.Code)
	require.NotContains(t, f.Message, "secret")
	require.Contains(t, f.Error(), "secret", "the log needs it")
	require.ErrorIs(t, f, cause)

	away := fault.Away(cause)
	require.NotContains(t, away.Message, "secret")
	require.Positive(t, away.RetryAfter)
	require.ErrorIs(t, away, cause)
}

func TestFieldsNameEachBrokenRule(t *testing.T) {
	t.Parallel()
	require.NoError(t, fault.Fields{}.Err())
	fields := fault.Fields{}
	fields.Add("password", "Too short.")
	fields.Add("email", "Not valid.")
	fields.Add("password", "Too common.")
	f := fault.From(fields.Err())
	require.Equal(t, "validation_failed", f.Code)
	require.Equal(t, fault.Invalid, f.Kind)
	require.Equal(t, fault.Fields{"password": {"Too short.", "Too common."}, "email": {"Not valid."}}, f.Fields)
	require.Equal(t, "Some fields are not valid: email, password.", f.Message)
}

func TestLinesTellEachBrokenRuleByField(t *testing.T) {
	t.Parallel()
	fields := fault.Fields{}
	fields.Add("name", "Too long.")
	fields.Add("email", "Not valid.")
	fields.Add("name", "Not nice.")
	require.Equal(t, []string{"email: Not valid.", "name: Too long.", "name: Not nice."}, fields.Lines())
}
