// Package messaging is how the modules talk to each other and to the world. Only here is Watermill
// imported.
//
// # Two speeds
//
// Bus.Send runs the one handler of a command now; Bus.Publish runs the followers of an event now
// and tells the world later. "Now" is in the caller's goroutine, context and transaction: what must
// be consistent commits together, and a refusal by any module leaves nothing anywhere. "Later" is a
// row of the outbox, written in the same transaction, that the relay carries to RabbitMQ afterwards.
//
// Between Watermill's command bus and its handlers stands a small publisher of ours (inline.go).
// Watermill's own in-process ways do not fit: over a GoChannel the handler's error never comes back,
// a blocking one resends for ever and deadlocks when a handler sends in turn, and request–reply
// loses the type of the error.
//
// # The outbox
//
// Rows are written through watermill-sql's publisher with a schema of ours, and read by a
// message.Subscriber of ours in a Watermill router: one message is one batch, deleted in the same
// transaction that waited for RabbitMQ's confirms. watermill-sql's own subscriber waits for every
// older transaction of the whole cluster and deletes nothing.
//
// Events, mails and messages for push.queue leave by lanes of their own, so that a mail that no queue
// takes holds up no event.
// A mail is carried by itself and mandatory: an event may be dropped when nobody has bound it, a mail
// may not. It holds a token that only its reader may see, so its command and its row are never logged.
//
// Each event has a sequence without gaps per user and source, which is also what keeps them in
// order: to take the next number a transaction locks it until it commits. Many events of one transaction
// are published Together, which at its end tells them to their followers at once (FollowAll), takes their
// numbers in one order for all and writes them by one statement.
//
// # RabbitMQ
//
// watermill-amqp gives the interfaces (its Marshaler); publisher and subscriber are ours, because
// the stock ones publish one message per channel without a time limit, deadlock after a lost
// connection, handle one message at a time, and hand out empty messages when a queue goes away.
//
// A message of a queue goes through correlate → measure → trace → poison → retry → Recoverer → hold →
// handler. A Permanent error goes to the failed queue; any other waits outside the queue in a TTL
// queue and comes back; while a circuit breaker is open, messages are held and nothing counts as an
// attempt.
//
// The relay and the consumer have spans where somebody traces: a row and a message carry the trace context
// of their cause.
//
// # The price
//
// The modules share one database. A module that moves out turns its inline followers into
// consumers of user.events, and registration into a saga.
package messaging
