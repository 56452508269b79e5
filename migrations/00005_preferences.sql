-- The channels a user allows.

-- +goose Up
CREATE SCHEMA preferences;

CREATE TABLE preferences.preferences (
    user_id    uuid        PRIMARY KEY,
    email      boolean     NOT NULL,
    push       boolean     NOT NULL,
    is_active  boolean     NOT NULL DEFAULT true, -- of the account
    version    bigint      NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- +goose Down
DROP SCHEMA preferences CASCADE;
