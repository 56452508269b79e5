-- A mail goes on with the trace of the request that asked for it.

-- +goose Up
ALTER TABLE auth.mail_wishes ADD COLUMN traceparent text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE auth.mail_wishes DROP COLUMN traceparent;
