package preferences

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"user-service/messaging"
	"user-service/messaging/events"
	"user-service/migrations"
	"user-service/platform/batch"
	"user-service/platform/cache"
	"user-service/platform/correlation"
	"user-service/platform/identity"
	"user-service/platform/postgres"
	"user-service/platform/servertest"
)

// newInstance is the module as one process has it, on a database that it may share.
func newInstance(t testing.TB, database string) *Module {
	t.Helper()
	db, err := postgres.Open(database, 10)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	bus, err := messaging.NewBus(messaging.NewOutbox(db))
	require.NoError(t, err)
	redis, err := cache.Dial(servertest.Env(t, "REDIS_URL"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = redis.Close() })
	return New(db, bus, cache.New(redis, db, time.Hour, slog.New(slog.DiscardHandler)))
}

func (m *Module) newUser(t testing.TB) string {
	t.Helper()
	user := uuid.NewString()
	require.NoError(t, m.store.add(t.Context(), user, true, true))
	return user
}

// wishOf switches one channel.
func wishOf(channel string, on bool) wish {
	w := wish{ids: correlation.Accept("", "")}
	if channel == "email" {
		w.Email = &on
	} else {
		w.Push = &on
	}
	return w
}

// TestChangesOfOneUserFollowOneAnother has two instances change the same users at once, in batches whose
// users are mixed: a lock taken in another order would be a deadlock.
func TestChangesOfOneUserFollowOneAnother(t *testing.T) {
	t.Parallel()
	database := servertest.Database(t, migrations.Files)
	instances := []*Module{newInstance(t, database), newInstance(t, database)}
	users := make([]string, 5)
	for n := range users {
		users[n] = instances[0].newUser(t)
	}
	var mu sync.Mutex
	told := map[string]map[int64]kept{} // by user and version
	for _, m := range instances {
		messaging.FollowAll(m.bus, func(ctx context.Context, all []*events.PreferencesChanged) error {
			for _, e := range all {
				r, err := m.store.byUser(ctx, e.UserID)
				if err != nil {
					return err
				}
				mu.Lock()
				if told[e.UserID] == nil {
					told[e.UserID] = map[int64]kept{1: {true, true, true}}
				}
				told[e.UserID][r.Version] = kept{e.Email, e.Push, true}
				mu.Unlock()
			}
			return nil
		})
	}
	var callers errgroup.Group
	for n := range 24 {
		m, channel := instances[n%2], []string{"email", "push"}[n/2%2]
		callers.Go(func() error {
			for turn := range 40 {
				on := turn%2 == 0
				now, err := m.changes.Do(t.Context(), users[(n+turn)%len(users)], wishOf(channel, on))
				if err != nil {
					return err
				}
				if is := map[string]bool{"email": now.Email, "push": now.Push}[channel]; is != on {
					return fmt.Errorf("%s was to be %t and is %t", channel, on, is)
				}
			}
			return nil
		})
	}
	require.NoError(t, callers.Wait())
	for _, user := range users {
		last, err := instances[0].store.byUser(t.Context(), user)
		require.NoError(t, err)
		require.Greater(t, last.Version, int64(5))
		require.Len(t, told[user], int(last.Version), "every change has a number and an event of its own")
		require.Equal(t, told[user][last.Version], last.kept)
		for version := int64(2); version <= last.Version; version++ {
			require.NotEqual(t, told[user][version-1], told[user][version], "nothing changed, and was told")
		}
	}
}

// TestChangesReadNoWholeTable among so many users that to look each up by its index is less work, and so few
// that the planner has to expect few to see it.
func TestChangesReadNoWholeTable(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	a, b := m.newUser(t), m.newUser(t)
	_, err := m.db.Exec(t.Context(), `INSERT INTO preferences.preferences (user_id, email, push) SELECT gen_random_uuid(), true, true FROM generate_series(1, 3000)`)
	require.NoError(t, err)
	_, err = m.db.Exec(t.Context(), `ANALYZE preferences.preferences`)
	require.NoError(t, err)
	require.NoError(t, m.db.InTx(t.Context(), func(ctx context.Context) error {
		read := func() (n int) {
			require.NoError(t, m.db.Get(ctx, &n, `SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'preferences'`))
			return n
		}
		before := read()
		for n := range 10 { // the planner settles on a plan after some
			_, err := m.store.change(ctx, map[string]wish{a: wishOf("email", n%2 == 1), b: wishOf("push", n%2 == 1)})
			require.NoError(t, err)
		}
		require.Equal(t, before, read())
		return nil
	}))
}

func TestWishesOfOneBatchAreJudgedEachForItself(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	same, changes, inactive := m.newUser(t), m.newUser(t), m.newUser(t)
	_, err := m.store.setActive(t.Context(), inactive, false)
	require.NoError(t, err)
	wishes := map[string]wish{
		same: wishOf("email", true), changes: wishOf("email", false), inactive: wishOf("email", false),
		uuid.NewString(): wishOf("email", false), // nobody
	}
	now, err := m.changeAll(t.Context(), wishes)
	require.NoError(t, err)
	require.Len(t, now, 3)
	for user, version := range map[string]int64{same: 1, changes: 2, inactive: 2} {
		kept, err := m.store.byUser(t.Context(), user)
		require.NoError(t, err)
		require.Equal(t, version, kept.Version)
		require.Equal(t, user != changes, kept.Email)
		_, err = now[user].reply(nil)
		if user == inactive {
			require.ErrorIs(t, err, identity.ErrTokenInvalid)
		} else {
			require.NoError(t, err)
			require.Equal(t, kept.Email, now[user].Email)
		}
	}
	var rows []struct {
		Subject       string
		CorrelationID string `db:"correlation_id"`
	}
	require.NoError(t, m.db.Select(t.Context(), &rows, `SELECT subject, correlation_id FROM messaging.outbox`))
	require.Len(t, rows, 1)
	require.Equal(t, changes, rows[0].Subject)
	require.Equal(t, wishes[changes].ids.Correlation, rows[0].CorrelationID, "an event goes on with the id of its own request")
	_, err = row{}.reply(nil)
	require.ErrorIs(t, err, identity.ErrTokenInvalid, "of a user there is not")
}

// TestLocksAreWaitedForASecond by what follows in the transaction, too: others may wait with it.
func TestLocksAreWaitedForASecond(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	a, b := m.newUser(t), m.newUser(t)
	for _, wishes := range []map[string]wish{{a: wishOf("email", false)}, {a: wishOf("push", false), b: wishOf("push", false)}} {
		require.NoError(t, m.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := m.store.change(ctx, wishes)
			require.NoError(t, err)
			var patience string
			require.NoError(t, m.db.Get(ctx, &patience, `SHOW lock_timeout`))
			require.Equal(t, "1s", patience)
			return nil
		}))
	}
}

// TestUserWhomSomebodyKeepsLockedHoldsUpNoOther has one be in a batch with others, and then come again and
// again while somebody else comes once.
func TestUserWhomSomebodyKeepsLockedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	m := newInstance(t, servertest.Database(t, migrations.Files))
	locked := m.newUser(t)
	held, release := servertest.HeldUp(t, "change", m.changeAll)
	var stuck, others errgroup.Group
	require.NoError(t, m.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := m.db.Exec(ctx, `SELECT FROM preferences.preferences WHERE user_id = $1 FOR UPDATE`, locked)
		require.NoError(t, err)
		insist := func() { _, _ = held.Do(t.Context(), locked, wishOf("email", false)) }
		stuck.Go(func() error { insist(); return nil })
		for range 5 {
			user := m.newUser(t)
			others.Go(func() error { _, err := held.Do(t.Context(), user, wishOf("email", false)); return err })
		}
		release(6)
		begun := time.Now()
		require.NoError(t, others.Wait(), "although the lock is still held")
		require.Less(t, time.Since(begun), batch.Within, "the batch did not wait for it")

		for range 8 {
			stuck.Go(func() error { insist(); return nil })
		}
		servertest.Eventually(t, func() bool { return held.Waiting() > 0 }, "some come again")
		begun = time.Now()
		_, err = held.Do(t.Context(), m.newUser(t), wishOf("email", false))
		require.NoError(t, err)
		require.Less(t, time.Since(begun), batch.Within, "they wait one after the other, and nobody for them")
		return nil
	}))
	require.NoError(t, stuck.Wait())
	now, err := held.Do(t.Context(), locked, wishOf("email", false))
	require.NoError(t, err)
	require.False(t, now.Email)
}
