package messaging

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/messaging/events"
	"user-service/platform/correlation"
)

func TestEventLeavesOnlyWithItsTransaction(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	changedMind := errors.New("changed my mind")

	err := s.db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, s.Publish(ctx, changed(newUser())))
		return changedMind
	})
	require.ErrorIs(t, err, changedMind)
	require.Empty(t, s.rows(t))
	require.Empty(t, s.outbox.wake, "nothing to carry, nobody is woken")

	s.publish(t, changed(newUser()))
	require.Len(t, s.rows(t), 1)
	require.Len(t, s.outbox.wake, 1)
}

func TestRowSaysWhatTheEventIs(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	user := newUser()
	ids := correlation.IDs{Correlation: "request-7", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

	require.NoError(t, s.db.InTx(correlation.With(t.Context(), ids), func(ctx context.Context) error {
		return s.Publish(ctx, changed(user))
	}))

	row := s.rows(t)[0]
	require.Equal(t, uuid.Version(7), row.ID.Version())
	require.Equal(t, "user.preferences_changed", row.Topic)
	require.Equal(t, "preferences", row.Source)
	require.Equal(t, user, row.Subject)
	require.Equal(t, int64(1), row.Sequence)
	require.Equal(t, ids.Correlation, row.CorrelationID)
	require.Equal(t, ids.Traceparent, row.Traceparent)
	require.JSONEq(t, `{"user_id":"`+user+`","email":true,"push":false,"changed":["email"]}`, string(row.Data))
}

func TestSequenceRisesWithoutGapsPerUserAndSource(t *testing.T) {
	t.Parallel()
	const writers, writes = 16, 40
	s := newSender(t)
	users := []string{newUser(), newUser(), newUser()}
	refused := errors.New("rolled back")
	var group errgroup.Group
	for writer := range writers {
		random := rand.New(rand.NewPCG(1, uint64(writer)))
		group.Go(func() error {
			for range writes {
				user, rollBack := users[random.IntN(len(users))], random.IntN(3) == 0
				err := s.db.InTx(t.Context(), func(ctx context.Context) error {
					if err := s.Publish(ctx, changed(user)); err != nil {
						return err
					}
					if err := s.Publish(ctx, events.ProfileUpdated{UserID: user}); err != nil {
						return err
					}
					if rollBack {
						return refused
					}
					return nil
				})
				if err != nil && !errors.Is(err, refused) {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())

	type line struct{ subject, source string }
	last := map[line]int64{}
	for _, row := range s.rows(t) { // in the order of their positions
		of := line{row.Subject, row.Source}
		require.Equal(t, last[of]+1, row.Sequence, "the next number of %v", of)
		last[of] = row.Sequence
	}
	require.Len(t, last, 2*len(users))
}

func TestEventsPublishedTogetherAreRowsLikeAnyOther(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	one, other := newUser(), newUser()
	s.publish(t, changed(one), changed(one))
	told := []events.Event{
		changed(one), events.ProfileUpdated{UserID: other}, changed(other), changed(one), events.ProfileUpdated{UserID: other},
	}
	publishAll := func(ctx context.Context) error {
		for n, event := range told {
			ids := correlation.IDs{Correlation: fmt.Sprintf("request-%d", n)}
			if err := s.Publish(correlation.With(ctx, ids), event); err != nil {
				return err
			}
		}
		return nil
	}
	require.NoError(t, s.db.InTx(t.Context(), func(ctx context.Context) error { return s.Together(ctx, publishAll) }))
	rows := s.rows(t)[2:]
	require.Len(t, rows, len(told))
	for n, row := range rows {
		require.Equal(t, told[n].Type(), row.Topic)
		require.Equal(t, told[n].Subject(), row.Subject)
		require.Equal(t, fmt.Sprintf("request-%d", n), row.CorrelationID, "each goes on with its own cause")
		require.Equal(t, []int64{3, 1, 1, 4, 2}[n], row.Sequence)
	}

	changedMind := errors.New("changed my mind")
	require.ErrorIs(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		return s.Together(ctx, func(ctx context.Context) error { return errors.Join(publishAll(ctx), changedMind) })
	}), changedMind)
	require.NoError(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		return s.Together(ctx, func(context.Context) error { return nil })
	}))
	require.Len(t, s.rows(t), 2+len(told))
	require.ErrorIs(t, s.Together(t.Context(), publishAll), errOutsideTx)
}

// TestEventsPublishedTogetherNeverWaitForEachOther has writers take the numbers of the same users, each
// in an order of its own.
func TestEventsPublishedTogetherNeverWaitForEachOther(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	users := make([]string, 12)
	for n := range users {
		users[n] = newUser()
	}
	var writers errgroup.Group
	for range 6 {
		writers.Go(func() error {
			for range 20 {
				if err := s.db.InTx(t.Context(), func(ctx context.Context) error {
					return s.Together(ctx, func(ctx context.Context) error {
						for _, n := range rand.Perm(len(users)) {
							if err := s.Publish(ctx, changed(users[n])); err != nil {
								return err
							}
						}
						return nil
					})
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, writers.Wait())
}
