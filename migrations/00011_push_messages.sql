-- Messages for push.queue leave by a lane of their own, as mails do: neither holds up the other.

-- +goose Up
CREATE INDEX outbox_pushes ON messaging.outbox (position) WHERE topic = 'push';

-- +goose Down
DROP INDEX messaging.outbox_pushes;
