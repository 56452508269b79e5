package auth

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"user-service/migrations"
	"user-service/platform/servertest"
)

func TestKeysAreJudgedWhileTheirUseIsNoted(t *testing.T) {
	t.Parallel()
	m, key := withServiceKey(t)
	judge := func() {
		caller, err := m.serviceKeys.judge(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, "gateway", caller.Service)
	}
	judge()
	noted := make(chan error, 1)
	require.NoError(t, m.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := m.db.Exec(ctx, `LOCK TABLE auth.service_keys IN EXCLUSIVE MODE`) // which readers do not mind
		require.NoError(t, err)
		go func() { noted <- m.serviceKeys.noteUse(t.Context()) }()
		servertest.Eventually(t, func() (waits bool) {
			require.NoError(t, m.db.Get(ctx, &waits, `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'auth.service_keys'::regclass AND NOT granted)`))
			return waits
		}, "the note waits")
		judge()
		require.Empty(t, noted, "who is judged has not waited for the note")
		return nil
	}))
	require.NoError(t, <-noted)
}

func TestUseThatCouldNotBeNotedIsNotedLater(t *testing.T) {
	t.Parallel()
	m, key := withServiceKey(t)
	_, err := m.serviceKeys.judge(t.Context(), key)
	require.NoError(t, err)
	gone, leave := context.WithCancel(t.Context())
	leave()
	require.Error(t, m.serviceKeys.noteUse(gone))
	require.NoError(t, m.serviceKeys.noteUse(t.Context()))
	keys, err := m.ServiceKeys(t.Context())
	require.NoError(t, err)
	require.NotNil(t, keys[0].LastUsedAt)
}

func withServiceKey(t *testing.T) (m *Module, key string) {
	db := servertest.OpenDatabase(t, migrations.Files)
	m = &Module{db: db, store: store{db}, serviceKeys: newServiceKeys(db)}
	key, err := m.CreateServiceKey(t.Context(), "gateway")
	require.NoError(t, err)
	return m, key
}
