-- +goose NO TRANSACTION
-- A device token belongs to one user, with whom it turned up last: whoever had it before is found by it.
-- push_token_at is when the user registered it; null is long ago. The index is built while the table is
-- in use; what an interrupted build left is dropped first, so that the step can be repeated. It is a hash
-- because tokens may be longer than a B-tree takes, and are only ever looked up whole.

-- +goose Up

-- Needs a moment alone with the table: it gives up rather than have everybody queue behind it.
ALTER TABLE profile.users ADD COLUMN IF NOT EXISTS push_token_at timestamptz;

-- The transactions under way are waited for, and nobody waits for this.
SET lock_timeout = 0;

DROP INDEX CONCURRENTLY IF EXISTS profile.users_push_token;
CREATE INDEX CONCURRENTLY users_push_token ON profile.users USING hash (push_token) WHERE push_token IS NOT NULL;

RESET lock_timeout;

-- +goose Down
DROP INDEX IF EXISTS profile.users_push_token;
ALTER TABLE profile.users DROP COLUMN IF EXISTS push_token_at;
