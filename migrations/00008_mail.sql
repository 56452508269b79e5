-- Mails leave by the outbox too, in a lane of their own: after an outage of the broker the few must
-- not be searched for among the many.

-- +goose Up
CREATE INDEX outbox_mails ON messaging.outbox (position) WHERE topic = 'email';

-- +goose Down
DROP INDEX messaging.outbox_mails;
