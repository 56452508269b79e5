package main

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// TestWhoWasThoughtDeadGivesNothingBack lets the lease of a message end while the provider has it: its
// consumer was stopped and goes on, say. What it gives back then is somebody else's.
func TestWhoWasThoughtDeadGivesNothingBack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	k := s.start(t).register()
	b := s.broker(t)
	taken, answers := make(chan struct{}, 10), [2]chan int{make(chan int), make(chan int)}
	asked := make(chan int, 10)
	for n := range 10 {
		asked <- n
	}
	s.provider.answers(func(map[string]any) (int, string) {
		n := <-asked
		taken <- struct{}{}
		if n < len(answers) {
			if status := <-answers[n]; status != 0 {
				return status, "{}"
			}
		}
		return http.StatusOK, "{}"
	})
	t.Cleanup(func() { // before the provider waits for its answers
		for _, answer := range answers {
			close(answer)
		}
	})
	id := uuid.NewString()
	b.push(pushBody(k.id(), id))
	<-taken
	s.exec(t, `UPDATE push.deliveries SET lease_until = now() - interval '1 second'`)
	b.push(pushBody(k.id(), id)) // as the broker would, to another consumer
	<-taken
	answers[0] <- http.StatusServiceUnavailable
	db := s.open(t)
	servertest.Eventually(t, func() bool { return s.waiting(b) > 0 }, "the first is put off")
	require.Equal(t, 1, count(t, db, `SELECT count(*) FROM push.deliveries WHERE status = 'sending'`), "the second is still at it")
	answers[1] <- http.StatusOK
	servertest.Eventually(t, func() bool { return count(t, db, `SELECT count(*) FROM push.deliveries WHERE status = 'sent'`) == 1 }, "sent")
	servertest.Eventually(t, func() bool { return s.waiting(b)+b.length("push.queue") == 0 }, "nothing is left")
	require.Len(t, s.provider.received(id), 2)
}
