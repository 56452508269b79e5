// Command consumer prints the user service's events, each once and in order, as lines of JSON:
//
//	RABBITMQ_URL=amqp://guest:guest@localhost:5672/ go run . my-service.user-events
//
// Copy it, and put your own effect in place of the print.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// event is as much of a CloudEvent as its place among others needs; see type and data for the rest.
type event struct {
	ID, Source, Subject string
	Sequence            string // of fixed width, so that texts compare as numbers do
}

// consumer knows what it has handled. Keep this in your database, and write it in the transaction of
// your effect: then no crash does harm.
type consumer struct {
	seen map[string]bool   // ids
	last map[string]string // the latest sequence of each user and source
}

func main() {
	url := os.Getenv("RABBITMQ_URL")
	if len(os.Args) != 2 || url == "" {
		log.Fatal("usage: RABBITMQ_URL=amqp://… consumer QUEUE")
	}
	c := consumer{seen: map[string]bool{}, last: map[string]string{}}
	for {
		log.Printf("%v; trying again", c.consume(url, os.Args[1]))
		time.Sleep(time.Second)
	}
}

// consume takes events until the connection is lost.
func (c consumer) consume(url, queue string) error {
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclare(queue, true, false, false, false, nil) // durable: it gathers what comes while you are away
	err = errors.Join(err, ch.ExchangeDeclare("user.events", "topic", true, false, false, false, nil))
	err = errors.Join(err, ch.QueueBind(queue, "#", "user.events", false, nil), ch.Qos(100, 0, false)) // "user.*" for some
	events, failed := ch.Consume(queue, "", false, true, false, false, nil)                            // the only consumer: two would mix up the order
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	for d := range events {
		c.handle(d.Body)
		if err := d.Ack(false); err != nil { // after the effect, never before
			return err
		}
	}
	return errors.New("the connection was lost")
}

// handle does what there is to do, unless it was done: an event may come twice.
func (c consumer) handle(body []byte) {
	var e event
	err := json.Unmarshal(body, &e)
	stream := e.Source + " " + e.Subject
	if err == nil && !c.seen[e.ID] && e.Sequence > c.last[stream] {
		c.seen[e.ID], c.last[stream] = true, e.Sequence
		fmt.Printf("%s\n", body)
	}
}
