package main

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStatOfAProcessIsRead(t *testing.T) {
	t.Parallel()
	const stat = "4711 (a (b) c) S 12 4711 4711 0 -1 4194560 1 2 0 0 100 20 3 4 20 0 5 0 99 1 1\n"
	p, ok := parseStat(stat)
	require.True(t, ok)
	require.Equal(t, process{name: "a (b) c", parent: 12, spent: 1270 * time.Millisecond}, p)
	for _, broken := range []string{"", "4711", "4711 (a) S 12", ") ("} {
		_, ok := parseStat(broken)
		require.False(t, ok, "%q", broken)
	}
}

func TestTimeOfATreeIsThatOfAllBelow(t *testing.T) {
	t.Parallel()
	all := map[int]process{
		1: {spent: 1000}, 2: {parent: 1, spent: 100}, 3: {parent: 2, spent: 20}, 4: {parent: 3, spent: 3}, 5: {parent: 1, spent: 5000},
	}
	require.Equal(t, time.Duration(123), treeTime(all, 2))
}

func TestListenerIsFoundByItsPort(t *testing.T) {
	t.Parallel()
	if len(processes()) == 0 {
		t.Skip("no /proc")
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), listener(port))
	require.NoError(t, l.Close())
	require.Zero(t, listener(port))
}

func TestCostIsForEachOperation(t *testing.T) {
	t.Parallel()
	before := map[string]time.Duration{ownTime: time.Second}
	after := map[string]time.Duration{ownTime: 2 * time.Second}
	require.Equal(t, cost{ownTime: 100}, costOf(before, after, 10_000))
	require.Equal(t, cost{ownTime: 3}, medianCost([]cost{{ownTime: 9}, {ownTime: 3}, {ownTime: 1}}))
	require.Equal(t, "3\t–\t–\t–\t", cost{ownTime: 3}.columns())
}
