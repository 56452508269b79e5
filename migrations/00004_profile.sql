-- The user as others see it: its own name and push token, the rest told by auth and preferences.

-- +goose Up
CREATE SCHEMA profile;

CREATE TABLE profile.users (
    id             uuid        PRIMARY KEY,
    name           text        NOT NULL,
    push_token     text,
    email          text        NOT NULL,
    email_verified boolean     NOT NULL DEFAULT false,
    email_allowed  boolean     NOT NULL DEFAULT true,
    push_allowed   boolean     NOT NULL DEFAULT true,
    is_active      boolean     NOT NULL DEFAULT true,
    is_staff       boolean     NOT NULL DEFAULT false,
    version        bigint      NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- +goose Down
DROP SCHEMA profile CASCADE;
