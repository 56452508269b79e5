package messaging

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/fault"
	"user-service/platform/postgres"
)

// refusal is an error that carries more than its text.
type refusal struct{ Limit int }

func (r *refusal) Error() string { return "refused above " + strconv.Itoa(r.Limit) }

func TestHandlersOwnErrorComesBack(t *testing.T) {
	t.Parallel()
	bus := busWithoutWorld(t)
	taken := fault.New(fault.Invalid, "email_taken", "This e-mail is taken.")
	Handle(bus, func(context.Context, *commands.CreateProfile) error { return errors.Join(taken, &refusal{7}) })

	err := bus.Send(t.Context(), commands.CreateProfile{})

	require.ErrorIs(t, err, taken)
	typed, ok := errors.AsType[*refusal](err)
	require.True(t, ok)
	require.Equal(t, 7, typed.Limit)
}

// busWithoutWorld is a bus for commands only; it needs no database.
func busWithoutWorld(t testing.TB) *Bus {
	t.Helper()
	bus, err := NewBus(NewOutbox(nil))
	require.NoError(t, err)
	return bus
}

func TestHandlerRunsInTheCallersContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	s := newSender(t)
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(context.WithValue(t.Context(), key{}, "value"), deadline)
	defer cancel()
	Handle(s.Bus, func(ctx context.Context, c *commands.CreateProfile) error {
		seen, _ := ctx.Deadline()
		require.Equal(t, deadline, seen)
		require.Equal(t, "value", ctx.Value(key{}))
		require.True(t, postgres.InTransaction(ctx))
		require.Equal(t, "Ada", c.Name)
		return nil
	})

	require.NoError(t, s.db.InTx(ctx, func(ctx context.Context) error {
		return s.Send(ctx, commands.CreateProfile{Name: "Ada"})
	}))
}

func TestCancelledCallerIsSeenByTheHandler(t *testing.T) {
	t.Parallel()
	bus := busWithoutWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	Handle(bus, func(ctx context.Context, _ *commands.CreateProfile) error {
		cancel()
		return ctx.Err()
	})
	require.ErrorIs(t, bus.Send(ctx, commands.CreateProfile{}), context.Canceled)
}

func TestCommandSentByAHandlerDoesNotDeadlock(t *testing.T) {
	t.Parallel()
	bus := busWithoutWorld(t)
	var order []string
	Handle(bus, func(context.Context, *commands.ForgetPushToken) error {
		order = append(order, "inner")
		return nil
	})
	Handle(bus, func(ctx context.Context, c *commands.DeactivateAccount) error {
		err := bus.Send(ctx, commands.ForgetPushToken{UserID: c.UserID})
		order = append(order, "outer")
		return err
	})
	require.NoError(t, bus.Send(t.Context(), &commands.DeactivateAccount{})) // a pointer is as good as a value
	require.Equal(t, []string{"inner", "outer"}, order)
}

func TestAskGivesTheAnswer(t *testing.T) {
	t.Parallel()
	bus := busWithoutWorld(t)
	token := "token"
	Answer(bus, func(_ context.Context, c *commands.DescribeUser) (commands.User, error) {
		return commands.User{ID: c.UserID, PushToken: &token}, nil
	})

	user, err := Ask[commands.User](t.Context(), bus, commands.DescribeUser{UserID: "u"})

	require.NoError(t, err)
	require.Equal(t, "u", user.ID)
	require.Equal(t, "token", *user.PushToken)
	require.NotSame(t, &token, user.PushToken, "nothing is shared between modules")
	require.NoError(t, bus.Send(t.Context(), commands.DescribeUser{}), "an answer nobody waits for is dropped")
}

func TestAskPassesARefusalOn(t *testing.T) {
	t.Parallel()
	bus := busWithoutWorld(t)
	unknown := fault.New(fault.NotFound, "user_not_found", "No such user.")
	Answer(bus, func(context.Context, *commands.DescribeUser) (commands.User, error) { return commands.User{}, unknown })
	_, err := Ask[commands.User](t.Context(), bus, commands.DescribeUser{})
	require.ErrorIs(t, err, unknown)
}

func TestQuestionAskedWhileAnsweringAnotherHasItsOwnAnswer(t *testing.T) {
	t.Parallel()
	type Inner struct{}
	type Outer struct{}
	bus := busWithoutWorld(t)
	Answer(bus, func(context.Context, *Inner) (string, error) { return "inner", nil })
	Answer(bus, func(ctx context.Context, _ *Outer) (string, error) {
		inner, err := Ask[string](ctx, bus, Inner{})
		return "outer of " + inner, err
	})
	answer, err := Ask[string](t.Context(), bus, Outer{})
	require.NoError(t, err)
	require.Equal(t, "outer of inner", answer)
}

func TestSecondHandlerOfACommandPanics(t *testing.T) {
	t.Parallel()
	bus := busWithoutWorld(t)
	handle := func() { Handle(bus, func(context.Context, *commands.CreateProfile) error { return nil }) }
	handle()
	require.PanicsWithValue(t, "messaging: a second handler of CreateProfile", handle)
}

func TestCommandNobodyHandlesIsAnError(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, busWithoutWorld(t).Send(t.Context(), commands.CreateProfile{}), "nobody handles CreateProfile")
}

func TestCommandThatCannotLeaveTheProcessIsRefused(t *testing.T) {
	t.Parallel()
	type Callback struct{ Done func() }
	bus := busWithoutWorld(t)
	Handle(bus, func(context.Context, *Callback) error { return nil })
	require.ErrorContains(t, bus.Send(t.Context(), Callback{}), "unsupported type")
}

func TestEventOutsideATransactionIsRefused(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	Follow(s.Bus, func(context.Context, *events.PreferencesChanged) error {
		t.Error("a follower ran")
		return nil
	})
	require.ErrorIs(t, s.Publish(t.Context(), changed(newUser())), errOutsideTx)
	require.Empty(t, s.rows(t))
}

func TestFollowersRunInThePublishersTransaction(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	user := newUser()
	Follow(s.Bus, func(ctx context.Context, e *events.PreferencesChanged) error {
		_, err := s.db.Exec(ctx, "INSERT INTO preferences.preferences (user_id, email, push) VALUES ($1, $2, $3)", e.UserID, e.Email, e.Push)
		return err
	})
	Follow(s.Bus, func(ctx context.Context, e *events.PreferencesChanged) error {
		require.Equal(t, 1, s.count(ctx, t), "the second sees what the first did")
		return s.Publish(ctx, events.ProfileUpdated{UserID: e.UserID})
	})
	require.NoError(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, s.Publish(ctx, changed(user)))
		require.Zero(t, s.count(t.Context(), t), "not to be seen from outside before the commit")
		return nil
	}))
	require.Equal(t, 1, s.count(t.Context(), t))
	require.Len(t, s.rows(t), 2, "the event, and the one its follower published")
}

func TestWhatIsPublishedTogetherIsToldTogether(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	users := []string{newUser(), newUser(), newUser()}
	var all, each []string
	FollowAll(s.Bus, func(ctx context.Context, told []*events.PreferencesChanged) error {
		require.True(t, postgres.InTransaction(ctx))
		for _, e := range told {
			all = append(all, e.UserID)
		}
		return s.Publish(ctx, events.ProfileUpdated{UserID: users[0]})
	})
	Follow(s.Bus, func(ctx context.Context, e *events.PreferencesChanged) error {
		require.Len(t, all, 3, "the first follower was told of all")
		each = append(each, e.UserID)
		return s.Publish(ctx, events.ProfileUpdated{UserID: e.UserID})
	})
	require.NoError(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		return s.Together(ctx, func(ctx context.Context) error {
			for _, user := range users {
				require.NoError(t, s.Publish(ctx, changed(user)))
			}
			require.Empty(t, all, "before the end")
			return nil
		})
	}))
	require.Equal(t, users, all)
	require.Equal(t, users, each)
	require.Len(t, s.rows(t), 3+1+3, "what followers published in turn is there too")

	require.NoError(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		all = []string{"", ""}
		return s.Publish(ctx, changed(users[1]))
	}))
	require.Equal(t, []string{"", "", users[1]}, all, "one alone is all there is")
}

func (s sender) count(ctx context.Context, t testing.TB) (n int) {
	t.Helper()
	require.NoError(t, s.db.Get(ctx, &n, "SELECT count(*) FROM preferences.preferences"))
	return n
}

func TestRefusalByAnyFollowerLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	Follow(s.Bus, func(ctx context.Context, e *events.PreferencesChanged) error {
		_, err := s.db.Exec(ctx, "INSERT INTO preferences.preferences (user_id, email, push) VALUES ($1, true, true)", e.UserID)
		return err
	})
	Follow(s.Bus, func(context.Context, *events.PreferencesChanged) error { return &refusal{} })

	err := s.db.InTx(t.Context(), func(ctx context.Context) error { return s.Publish(ctx, changed(newUser())) })

	_, ok := errors.AsType[*refusal](err)
	require.True(t, ok)
	require.Zero(t, s.count(t.Context(), t))
	require.Empty(t, s.rows(t))
	var numbers int
	require.NoError(t, s.db.Get(t.Context(), &numbers, "SELECT count(*) FROM messaging.sequences"))
	require.Zero(t, numbers)
}

// The bar is 5 µs.
func BenchmarkInlineCommand(b *testing.B) {
	bus := busWithoutWorld(b)
	Handle(bus, func(context.Context, *commands.CreatePreferences) error { return nil })
	ctx, command := b.Context(), commands.CreatePreferences{UserID: newUser(), Email: true}
	for b.Loop() {
		if err := bus.Send(ctx, command); err != nil {
			b.Fatal(err)
		}
	}
}
