-- What became of a user's messages, the latest first; and of all messages that were not sent, which are
-- few. None of these columns changes when a message is sent, so that this writes no index.

-- +goose Up
CREATE INDEX deliveries_of_user ON push.deliveries (user_id, created_at);
CREATE INDEX deliveries_by_time ON push.deliveries (created_at);
CREATE INDEX deliveries_not_sent ON push.deliveries (created_at) WHERE reason <> '';

-- +goose Down
DROP INDEX push.deliveries_of_user, push.deliveries_by_time, push.deliveries_not_sent;
