package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	floodConnections = 128 // more than may wait for a hash, so that some are turned away
	readers          = 8   // of profiles meanwhile, each on a connection of its own
	readEvery        = 40 * time.Millisecond
)

// flood is what readers of profiles notice of a flood of logins.
type flood struct {
	IdleP99  float64 `json:"idle_p99_ms"`
	FloodP99 float64 `json:"flood_p99_ms"`
	Ratio    float64 `json:"ratio"`
	Logins   float64 `json:"logins_per_second"`
	PeakMiB  float64 `json:"peak_mib"`
}

// measureFlood reads profiles at an even pace, first alone and then under a flood of logins.
func (w *world) measureFlood(ctx context.Context, rounds int, length time.Duration) *flood {
	var idle, flooded, ratios, logins, resident []float64
	for n := range rounds {
		w.settle(ctx)
		quiet := w.read(ctx, length)
		busy, done := w.readUnderFlood(ctx, length)
		idle, flooded = append(idle, milliseconds(quiet, 99)), append(flooded, milliseconds(busy, 99))
		ratios, logins = append(ratios, flooded[n]/idle[n]), append(logins, float64(done)/length.Seconds())
		resident = append(resident, w.service.peakOfAll())
		fmt.Printf("flood  round %d of %d  p99 of a profile %.1f ms alone, %.1f ms under %.0f logins/s, %.0f MiB\n",
			n+1, rounds, idle[n], flooded[n], logins[n], resident[n])
	}
	return &flood{
		IdleP99: median(idle), FloodP99: median(flooded), Ratio: median(ratios), Logins: median(logins), PeakMiB: slices.Max(resident),
	}
}

func milliseconds(latencies []time.Duration, p int) float64 {
	slices.Sort(latencies)
	return percentile(latencies, p).Seconds() * 1000
}

// read measures from when a request was due, not from when it could be sent: who waits is not spared.
func (w *world) read(ctx context.Context, length time.Duration) (latencies []time.Duration) {
	gets := make([]script, readers)
	for n, u := range w.users[:readers] {
		gets[n] = inTurn(request("GET", profilePath, u.token, ""))
	}
	return w.pace(ctx, w.service, gets, make([]int, readers), length)
}

// pace makes a request of each script every readEvery, on a connection of its own.
func (w *world) pace(ctx context.Context, c *child, scripts []script, turns []int, length time.Duration) []time.Duration {
	var all errgroup.Group
	each := make([][]time.Duration, len(scripts))
	for n, requests := range scripts {
		all.Go(func() (err error) {
			offset := time.Duration(n) * readEvery / time.Duration(len(scripts))
			each[n], err = paced(ctx, c.address, requests, &turns[n], offset, length)
			return err
		})
	}
	check(all.Wait())
	return slices.Concat(each...)
}

// paced sends a request every readEvery, and measures each from when it was due.
func paced(ctx context.Context, address string, requests script, turn *int, offset, length time.Duration) (latencies []time.Duration, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	begin := time.Now().Add(offset)
	_ = conn.SetDeadline(begin.Add(length + 10*time.Second))
	for due := begin; due.Sub(begin) < length && ctx.Err() == nil; due = due.Add(readEvery) {
		time.Sleep(time.Until(due))
		if _, err := conn.Write(requests(*turn)); err != nil {
			return nil, err
		}
		if err := skipReply(in); err != nil {
			return nil, err
		}
		*turn++
		latencies = append(latencies, time.Since(due))
	}
	return latencies, ctx.Err()
}

// readUnderFlood gives how many logins succeeded meanwhile.
func (w *world) readUnderFlood(ctx context.Context, length time.Duration) (latencies []time.Duration, logins int) {
	until := time.Now().Add(length)
	counts := make([]int, floodConnections)
	var all errgroup.Group
	for n := range floodConnections {
		u := w.users[n%len(w.users)]
		all.Go(func() (err error) {
			counts[n], err = hammer(ctx, w.service.address, loginOf(u), until)
			return err
		})
	}
	latencies = w.read(ctx, length)
	check(all.Wait())
	for _, count := range counts {
		logins += count
	}
	return latencies, logins
}

// turnedAway is how long a client waits before it tries again: it shares the cores with the service,
// which would otherwise be measured by how fast it can say no.
const turnedAway = 100 * time.Millisecond

func hammer(ctx context.Context, address string, request []byte, until time.Time) (succeeded int, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(until.Add(30 * time.Second))
	in := bufio.NewReader(conn)
	for time.Now().Before(until) && ctx.Err() == nil {
		if _, err := conn.Write(request); err != nil {
			return succeeded, err
		}
		status, err := readReply(in)
		switch {
		case err != nil:
			return succeeded, err
		case status == "200":
			succeeded++
		case status == "503":
			time.Sleep(turnedAway)
		default:
			return succeeded, fmt.Errorf("the reply to a login is %s", status)
		}
	}
	return succeeded, ctx.Err()
}
