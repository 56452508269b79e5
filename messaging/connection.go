package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	dialTimeout  = 5 * time.Second
	redialAfter  = time.Second
	amqpBeat     = 10 * time.Second // a peer that says nothing for three beats is gone
	closeTimeout = 2 * time.Second
)

// Connection keeps one AMQP connection up for as long as Run runs. Publishing and consuming have one
// each, so that a broker which blocks publishers does not stop acks.
//
// watermill-amqp's own wrapper fails to start while the broker is down, waits up to a minute before
// it tries again, and races on its state when the broker bounces.
type Connection struct {
	url, name string
	topology  Topology
	log       *slog.Logger

	mu      sync.Mutex
	current *amqp.Connection
	socket  *socket       // of current
	changed chan struct{} // closed when current is replaced

	asking atomic.Bool // whether Up waits for an answer
}

// NewConnection describes a connection; name is what the broker's operator sees.
func NewConnection(url, name string, topology Topology, log *slog.Logger) *Connection {
	return &Connection{
		url: url, name: name, topology: topology, changed: make(chan struct{}),
		log: log.With("logger", "amqp", "connection", name),
	}
}

// Run connects, and connects again, until ctx ends.
func (c *Connection) Run(ctx context.Context) error {
	level := slog.LevelWarn // an outage is told once, not each second
	for ctx.Err() == nil {
		connected, err := c.session(ctx)
		if connected {
			level = slog.LevelWarn
		}
		if err != nil && ctx.Err() == nil {
			c.log.Log(ctx, level, "message broker out of reach, trying until it is back", "error", err)
			level = slog.LevelDebug
			select {
			case <-ctx.Done():
			case <-time.After(redialAfter):
			}
		}
	}
	return nil
}

// session is the life of one connection, if there was one.
func (c *Connection) session(ctx context.Context) (connected bool, err error) {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(c.name)
	wire := new(socket)
	dial := func(network, address string) (_ net.Conn, err error) {
		wire.Conn, err = amqp.DefaultDial(dialTimeout)(network, address)
		return wire, err
	}
	conn, err := amqp.DialConfig(c.url, amqp.Config{
		Heartbeat: amqpBeat, Locale: "en_US", Properties: properties, Dial: dial,
	})
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(closeTimeout)) }()
	if err := c.topology.Declare(conn, c.log); err != nil {
		return false, fmt.Errorf("declare the topology: %w", err)
	}
	lost := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 8))
	c.log.Info("connected")
	c.set(conn, wire)
	defer c.set(nil, nil)
	for {
		select {
		case <-ctx.Done():
			return true, nil
		case b, open := <-blocked:
			if open && b.Active {
				c.log.Warn("the broker blocks publishers", "reason", b.Reason)
			} else if !open {
				blocked = nil
			}
		case err := <-lost:
			if err == nil {
				return true, errors.New("closed")
			}
			return true, err
		}
	}
}

func (c *Connection) set(conn *amqp.Connection, wire *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.socket = conn, wire
	close(c.changed)
	c.changed = make(chan struct{})
}

// Up is nil while there is a connection and the broker answers on it. It may be asked for by many,
// and waits for a silent broker in one goroutine only.
func (c *Connection) Up(ctx context.Context) error {
	c.mu.Lock()
	conn := c.current
	c.mu.Unlock()
	if conn == nil || conn.IsClosed() {
		return errNotConnected
	}
	if !c.asking.CompareAndSwap(false, true) {
		return errSilent
	}
	answered := make(chan error, 1)
	go func() {
		defer c.asking.Store(false)
		ch, err := conn.Channel()
		if err == nil {
			err = ch.Close()
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return errSilent
	}
}

// hangUp ends the connection without a word, which frees whoever waits for a broker that has gone
// silent. amqp091 heeds no context there, and finds out after three beats, if at all: it cannot
// close a connection while a write to it is stuck.
func (c *Connection) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket != nil {
		_ = c.socket.Close()
	}
}

// gather has what is published until done is called leave in few packets.
func (c *Connection) gather() (done func() error) {
	c.mu.Lock()
	wire := c.socket
	c.mu.Unlock()
	if wire == nil {
		return func() error { return nil }
	}
	return wire.gather() // waits for a write that is stuck, until hangUp, which needs mu, frees it
}

// redeclare has the topology declared again, since err says that something of it is gone.
func (c *Connection) redeclare(cause error) error {
	c.mu.Lock()
	conn := c.current
	c.mu.Unlock()
	if conn == nil || conn.IsClosed() {
		return cause // the next connection declares it anyway
	}
	if err := c.topology.Declare(conn, c.log); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

var errConsumerLost = errors.New("messaging: the consumer lost its queue or its connection")

var (
	errNotConnected = errors.New("messaging: not connected to the message broker")
	errSilent       = errors.New("messaging: the message broker does not answer")
)

// channel opens a channel, and waits for a connection as long as ctx allows.
func (c *Connection) channel(ctx context.Context) (*amqp.Channel, error) {
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	conn := c.current
	c.mu.Unlock()
	if conn == nil { // lost again
		return nil, errNotConnected
	}
	return conn.Channel()
}

// Connected waits until there is a connection, for so long at the most.
func (c *Connection) Connected(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return c.wait(ctx)
}

// wait returns when there is a connection, or with an error when ctx ends first.
func (c *Connection) wait(ctx context.Context) error {
	for {
		c.mu.Lock()
		conn, changed := c.current, c.changed
		c.mu.Unlock()
		if conn != nil && !conn.IsClosed() {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return errNotConnected
		case <-changed:
		}
	}
}
