package messaging

import (
	"context"
	"errors"
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
