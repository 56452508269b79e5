package messaging_test

import (
	"context"
	"fmt"

	"user-service/messaging"
	"user-service/messaging/commands"
	"user-service/messaging/events"
	"user-service/platform/fault"
	"user-service/platform/postgres"
)

// One module asks something of another. It gets the other's own error back.
func ExampleBus_Send() {
	bus, err := messaging.NewBus(messaging.NewOutbox(nil)) // commands need no database
	if err != nil {
		panic(err)
	}
	noName := fault.New(fault.Invalid, "name_missing", "A name is needed.")
	messaging.Handle(bus, func(_ context.Context, c *commands.CreateProfile) error {
		if c.Name == "" {
			return noName
		}
		fmt.Println("a profile for", c.Name)
		return nil
	})

	fmt.Println(bus.Send(context.Background(), commands.CreateProfile{Name: "Ada"}))
	fmt.Println(bus.Send(context.Background(), commands.CreateProfile{}))
	// Output:
	// a profile for Ada
	// <nil>
	// name_missing: A name is needed.
}

// One module asks another a question.
func ExampleAsk() {
	bus, err := messaging.NewBus(messaging.NewOutbox(nil))
	if err != nil {
		panic(err)
	}
	messaging.Answer(bus, func(_ context.Context, c *commands.DescribeUser) (commands.User, error) {
		return commands.User{ID: c.UserID, Name: "Ada"}, nil
	})

	user, err := messaging.Ask[commands.User](context.Background(), bus, commands.DescribeUser{UserID: "7"})
	fmt.Println(user.ID, user.Name, err)
	// Output: 7 Ada <nil>
}

// A module tells of a change, in the transaction of the change. Followers in the process have seen
// it when Publish returns; the world hears of it after the commit.
func ExampleBus_Publish() {
	var db *postgres.DB // the service's
	bus, err := messaging.NewBus(messaging.NewOutbox(db))
	if err != nil {
		panic(err)
	}
	messaging.Follow(bus, func(ctx context.Context, e *events.PreferencesChanged) error {
		_, err := db.Exec(ctx, "UPDATE push.recipients SET push_allowed = $2 WHERE user_id = $1", e.UserID, e.Push)
		return err
	})
	change := func(ctx context.Context, user string) error {
		return db.InTx(ctx, func(ctx context.Context) error {
			if _, err := db.Exec(ctx, "UPDATE preferences.preferences SET push = false WHERE user_id = $1", user); err != nil {
				return err
			}
			return bus.Publish(ctx, events.PreferencesChanged{UserID: user, Changed: []string{"push"}})
		})
	}
	_ = change
}
