-- What accounts and sessions need beyond sign-in: verification, staff, one-time tokens, service keys,
-- and a record of what happened.

-- +goose Up
ALTER TABLE auth.accounts
    ADD email_verified    boolean     NOT NULL DEFAULT false,
    ADD is_staff          boolean     NOT NULL DEFAULT false,
    ADD sessions_ended_at timestamptz; -- tokens without a session that are older are refused

ALTER TABLE auth.sessions
    ADD address      text        NOT NULL DEFAULT '', -- of the client that opened it
    ADD user_agent   text        NOT NULL DEFAULT '',
    ADD last_used_at timestamptz NOT NULL DEFAULT now();

-- session_id: one session. account_id: every token of an account that names no session.
ALTER TABLE auth.revocations
    ALTER session_id DROP NOT NULL,
    ADD account_id uuid,
    ADD revoked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD CHECK ((session_id IS NULL) <> (account_id IS NULL));

-- One row for each account and purpose, so that a new token voids the older. It outlives the token:
-- the counts say when the next mail may be sent. hash: SHA-256 of the token, null once it was used.
CREATE TABLE auth.one_time_tokens (
    account_id     uuid        NOT NULL REFERENCES auth.accounts,
    purpose        text        NOT NULL CHECK (purpose IN ('email_verification', 'password_reset')),
    hash           bytea       UNIQUE,
    expires_at     timestamptz NOT NULL,
    sent_at        timestamptz NOT NULL,
    sent           integer     NOT NULL DEFAULT 1, -- since counting_since
    counting_since timestamptz NOT NULL,
    PRIMARY KEY (account_id, purpose)
);

-- Wishes for a mail with a token, from anybody for any address: written alike whether there is an
-- account or not, and answered before anyone looks.
CREATE TABLE auth.mail_wishes (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email          text        NOT NULL,
    purpose        text        NOT NULL,
    address        text        NOT NULL,
    user_agent     text        NOT NULL,
    correlation_id text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE auth.service_keys (
    id           uuid        PRIMARY KEY,
    name         text        NOT NULL,
    hash         bytea       NOT NULL UNIQUE, -- SHA-256 of the key
    hint         text        NOT NULL,        -- its first characters, to tell keys apart
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE UNIQUE INDEX service_keys_name ON auth.service_keys (name) WHERE revoked_at IS NULL;

-- Who did what to which account, when and from where. No secrets, and no address of e-mail.
CREATE TABLE auth.audit_log (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    action         text        NOT NULL,
    account_id     uuid,                        -- null: of no known account
    actor          text        NOT NULL,        -- user:<id>, service:<name>, operator, or anonymous
    address        text        NOT NULL DEFAULT '',
    user_agent     text        NOT NULL DEFAULT '',
    correlation_id text        NOT NULL DEFAULT '',
    detail         jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_account ON auth.audit_log (account_id, id DESC);
CREATE INDEX audit_log_at ON auth.audit_log (at);

-- +goose Down
DROP TABLE auth.audit_log, auth.service_keys, auth.mail_wishes, auth.one_time_tokens;
DELETE FROM auth.revocations WHERE session_id IS NULL;
ALTER TABLE auth.revocations DROP account_id, DROP revoked_at, ALTER session_id SET NOT NULL;
ALTER TABLE auth.sessions DROP address, DROP user_agent, DROP last_used_at;
ALTER TABLE auth.accounts DROP email_verified, DROP is_staff, DROP sessions_ended_at;
