package idempotency

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/postgres"
	"user-service/platform/retention"
	"user-service/platform/servertest"
)

var secret = []byte("a secret key of the tests, long enough")

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := New(servertest.OpenDatabase(t, migrations.Files), secret)
	require.NoError(t, err)
	return s
}

func (s *Store) age(t *testing.T, by time.Duration) {
	t.Helper()
	_, err := s.db.Exec(t.Context(), `
		UPDATE idempotency.requests SET lease_until = lease_until - make_interval(secs => $1), expires_at = expires_at - make_interval(secs => $1)`, by.Seconds())
	require.NoError(t, err)
}

func TestReplyIsKeptForADayAndTheIDIsFreeThen(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := Request{Principal: "user:1", Method: "POST", Path: "/", ID: "id", Body: []byte("{}")}
	reservation, kept, err := s.Reserve(t.Context(), r)
	require.NoError(t, err)
	require.Nil(t, kept)
	reply := Reply{Status: 401, Challenge: "Bearer", Body: []byte(`{"a":"ü"}`)}
	require.NoError(t, reservation.Finish(t.Context(), reply))
	require.ErrorIs(t, reservation.Finish(t.Context(), reply), ErrRunning, "once")
	require.NoError(t, reservation.Release(t.Context()), "which does not take back what is finished")

	s.age(t, keptFor-time.Minute)
	_, kept, err = s.Reserve(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, &reply, kept)
	r.Body = []byte("[]")
	_, _, err = s.Reserve(t.Context(), r)
	require.ErrorIs(t, err, ErrReused)

	s.age(t, 2*time.Minute)
	_, err = s.Kept(t.Context(), r)
	require.ErrorIs(t, err, postgres.ErrNoRows)
	reservation, kept, err = s.Reserve(t.Context(), r)
	require.NoError(t, err)
	require.Nil(t, kept)
	require.NotNil(t, reservation)
}

func TestIDThatWasNotFinishedIsFreeAfterItsLease(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := Request{ID: "id"}
	first, _, err := s.Reserve(t.Context(), r)
	require.NoError(t, err)
	s.age(t, lease-10*time.Second)
	_, _, err = s.Reserve(t.Context(), r)
	require.ErrorIs(t, err, ErrRunning)
	s.age(t, 11*time.Second)
	second, _, err := s.Reserve(t.Context(), Request{ID: "id", Body: []byte("another")})
	require.NoError(t, err)
	require.ErrorIs(t, first.Finish(t.Context(), Reply{Status: 200}), ErrRunning)
	require.NoError(t, first.Release(t.Context()), "which does not take it from who has it now")
	require.NoError(t, second.Finish(t.Context(), Reply{Status: 200}))

	third, _, err := s.Reserve(t.Context(), Request{ID: "released"})
	require.NoError(t, err)
	require.NoError(t, third.Release(t.Context()))
	_, _, err = s.Reserve(t.Context(), Request{ID: "released"})
	require.NoError(t, err)
}

func TestNoTwoRequestsAreTakenForOne(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, r := range []Request{
		{Principal: "a", Method: "b", Path: "c", ID: "d"}, {Principal: "ab", Path: "c", ID: "d"}, {Principal: "a", Method: "bc", ID: "d"},
		{Principal: "a", Method: "b", Path: "cd"}, {Method: "a", Path: "b", ID: "cd"}, {Principal: "abcd"}, {ID: "abcd"},
	} {
		_, kept, err := s.Reserve(t.Context(), r)
		require.NoError(t, err)
		require.Nil(t, kept)
	}
}

func TestWithAnotherSecretNothingIsFound(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	reservation, _, err := s.Reserve(t.Context(), Request{ID: "id"})
	require.NoError(t, err)
	require.NoError(t, reservation.Finish(t.Context(), Reply{Status: 200}))
	other, err := New(s.db, []byte("another secret key, just as long as ours"))
	require.NoError(t, err)
	_, err = other.Kept(t.Context(), Request{ID: "id"})
	require.ErrorIs(t, err, postgres.ErrNoRows)
}

func TestReplyPutIntoAnotherRowDoesNotOpen(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, id := range []string{"mine", "theirs"} {
		reservation, _, err := s.Reserve(t.Context(), Request{ID: id})
		require.NoError(t, err)
		require.NoError(t, reservation.Finish(t.Context(), Reply{Status: 200, Body: []byte(id)}))
	}
	_, err := s.db.Exec(t.Context(), `UPDATE idempotency.requests SET reply = (SELECT reply FROM idempotency.requests WHERE key = $1)`, s.seal.key(Request{ID: "theirs"}))
	require.NoError(t, err)
	_, err = s.Kept(t.Context(), Request{ID: "mine"})
	require.ErrorContains(t, err, "open a kept reply")
}

func TestExpiredRowsAreRemovedInBatches(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		_, _, err := s.Reserve(t.Context(), Request{ID: id})
		require.NoError(t, err)
	}
	s.age(t, keptFor+time.Second)
	_, _, err := s.Reserve(t.Context(), Request{ID: "6"})
	require.NoError(t, err)
	require.NoError(t, retention.Apply(t.Context(), s.db, 2, expired))
	var left int
	require.NoError(t, s.db.Get(t.Context(), &left, `SELECT count(*) FROM idempotency.requests`))
	require.Equal(t, 1, left)
}
