-- Requests that must not take effect twice, with what the first of each was answered.

-- +goose Up
CREATE SCHEMA idempotency;

-- key: HMAC of who asks, the method, the path and X-Request-ID. fingerprint: HMAC of the body.
-- reply: AES-256-GCM, null while the first still runs; then owner may finish it, and nobody else until
-- lease_until.
CREATE TABLE idempotency.requests (
    key         bytea       PRIMARY KEY,
    fingerprint bytea       NOT NULL,
    owner       uuid        NOT NULL,
    lease_until timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    reply       bytea
) WITH (fillfactor = 70);
CREATE INDEX requests_expiry ON idempotency.requests (expires_at);

-- +goose Down
DROP SCHEMA idempotency CASCADE;
