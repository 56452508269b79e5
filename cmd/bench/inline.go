package main

import (
	"context"
	"fmt"
	"time"

	"user-service/messaging"
	"user-service/messaging/commands"
)

// measureInline is how long a command that does nothing takes from module to module, in µs.
func measureInline(ctx context.Context, rounds int) float64 {
	const commandsEach = 200_000
	bus := must(messaging.NewBus(messaging.NewOutbox(nil))) // no event is published
	messaging.Handle(bus, func(context.Context, *commands.CreatePreferences) error { return nil })
	command := commands.CreatePreferences{UserID: "018f0000-0000-7000-8000-000000000000", Email: true}
	var each []float64
	for n := range rounds {
		begin := time.Now()
		for range commandsEach {
			check(bus.Send(ctx, command))
		}
		each = append(each, time.Since(begin).Seconds()*1e6/commandsEach)
		fmt.Printf("inline round %d of %d  %.1f µs\n", n+1, rounds, each[n])
	}
	return median(each)
}
