-- Whom push messages may reach, and what became of each message. The version of a recipient was that of its copy in
-- Redis; there are none any more, and nothing reads it.

-- +goose Up
CREATE SCHEMA push;

CREATE TABLE push.recipients (
    user_id      uuid    PRIMARY KEY,
    push_token   text,
    push_allowed boolean NOT NULL,
    is_active    boolean NOT NULL DEFAULT true,
    version      bigint  NOT NULL DEFAULT 1
) WITH (fillfactor = 80);

-- status: sending (reserved until lease_until), retrying, sent, skipped, failed.
CREATE TABLE push.deliveries (
    request_id          text        PRIMARY KEY,
    user_id             text        NOT NULL,
    template_code       text        NOT NULL,
    status              text        NOT NULL,
    reason              text        NOT NULL DEFAULT '',
    provider            text        NOT NULL DEFAULT '',
    provider_message_id text        NOT NULL DEFAULT '',
    attempts            integer     NOT NULL DEFAULT 0,
    correlation_id      text        NOT NULL DEFAULT '',
    lease_until         timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- +goose Down
DROP SCHEMA push CASCADE;
