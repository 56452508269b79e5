-- Accounts, sessions, refresh tokens, and what was revoked before its time.

-- +goose Up
CREATE SCHEMA auth;

CREATE TABLE auth.accounts (
    id         uuid        PRIMARY KEY,
    email      text        NOT NULL,
    password   text        NOT NULL,
    is_active  boolean     NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX accounts_email ON auth.accounts (lower(email));

CREATE TABLE auth.sessions (
    id         uuid        PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES auth.accounts,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    generation integer     NOT NULL DEFAULT 1, -- of the current refresh token
    revoked_at timestamptz
);
CREATE INDEX sessions_account ON auth.sessions (account_id);
CREATE INDEX sessions_expiry ON auth.sessions (expires_at);

-- Every refresh token ever issued in a session, so that the use of an old one is recognised.
-- successor_salt: the successor is HMAC-SHA256(key: this token, message: salt), so that it can be
-- given again to whoever holds this token, and to nobody who only holds the database.
CREATE TABLE auth.refresh_tokens (
    hash           bytea       PRIMARY KEY,
    session_id     uuid        NOT NULL REFERENCES auth.sessions ON DELETE CASCADE,
    generation     integer     NOT NULL DEFAULT 1,
    issued_at      timestamptz NOT NULL DEFAULT now(),
    rotated_at     timestamptz,
    successor_salt bytea
);
CREATE INDEX refresh_tokens_session ON auth.refresh_tokens (session_id);

-- What every instance must know to refuse an access token that has not expired yet.
-- xid orders rows by visibility: an instance reads what committed since its last look.
CREATE TABLE auth.revocations (
    xid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    session_id uuid        NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX revocations_xid ON auth.revocations (xid);
CREATE INDEX revocations_expiry ON auth.revocations (expires_at);

-- +goose Down
DROP SCHEMA auth CASCADE;
