-- What is to leave the service, and the numbers that keep it in order.

-- +goose Up
CREATE SCHEMA messaging;

CREATE TABLE messaging.outbox (
    position       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             uuid        NOT NULL,
    topic          text        NOT NULL,
    source         text        NOT NULL,
    subject        text        NOT NULL,
    sequence       bigint      NOT NULL,
    correlation_id text        NOT NULL,
    traceparent    text        NOT NULL,
    data           json        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- One row for each user and source, locked by whoever takes its next number until the commit.
CREATE TABLE messaging.sequences (
    subject text   NOT NULL,
    source  text   NOT NULL,
    last    bigint NOT NULL,
    PRIMARY KEY (subject, source)
) WITH (fillfactor = 80);

-- +goose Down
DROP SCHEMA messaging CASCADE;
