package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"user-service/platform/identity"
	"user-service/platform/ratelimit"
)

// eachUser keeps a runaway client from taking the service from all others. It is far above what people
// do, so it may be that much for each instance, and judging it costs no round trip.
var eachUser = ratelimit.Limit{Name: "user", Rate: 600, Per: time.Minute, Burst: 300, Local: true}

// limit slows down addresses at the endpoints that say so, and users everywhere. Sibling services
// ask for many and may ask as often as they need to.
func (r *Router) limit(ctx context.Context, e Endpoint, p identity.Principal) error {
	if r.limiter == nil || p.Service != "" {
		return nil
	}
	if err := r.limiter.Take(ctx, e.PerAddress, identity.ClientFrom(ctx).Network()).Err(); err != nil {
		return err
	}
	if p.UserID == "" {
		return nil
	}
	return r.limiter.Take(ctx, eachUser, p.UserID).Err()
}

// showLimit tells a client how much of the limit is left that is closest to be used up.
func showLimit(header http.Header, tally *ratelimit.Tally) {
	result, ok := tally.Closest()
	if !ok {
		return
	}
	values := [...]string{strconv.Itoa(result.Limit.Burst), strconv.Itoa(result.Remaining), wholeSeconds(result.Reset)}
	header["Ratelimit-Limit"], header["Ratelimit-Remaining"], header["Ratelimit-Reset"] = values[0:1:1], values[1:2:2], values[2:3:3]
}

// wholeSeconds rounds up: who waits that long has waited long enough.
func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
