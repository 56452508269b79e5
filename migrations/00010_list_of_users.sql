-- +goose NO TRANSACTION
-- What lists a million users in any order, and finds some of them. The indexes are built while the
-- table is in use; what an interrupted build left is dropped first, so that the step can be repeated.
-- None is on what every change of a user changes, so that most changes touch no index (HOT).

-- +goose Up

-- The words of a name, without case: what space and the punctuation of names keep apart.
CREATE OR REPLACE FUNCTION profile.words(name text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 100
RETURN array_to_tsvector(array_remove(string_to_array(
    translate(lower(normalize(name, NFKC)), E'-.,''\u2019"()/&_\\', repeat(' ', 12)), ' '), ''));

-- The transactions under way are waited for, and nobody waits for this.
SET lock_timeout = 0;

DROP INDEX CONCURRENTLY IF EXISTS profile.users_created;
CREATE INDEX CONCURRENTLY users_created ON profile.users (created_at, id);

DROP INDEX CONCURRENTLY IF EXISTS profile.users_email;
CREATE INDEX CONCURRENTLY users_email ON profile.users ((lower(email) COLLATE "C"), id);

DROP INDEX CONCURRENTLY IF EXISTS profile.users_name;
CREATE INDEX CONCURRENTLY users_name ON profile.users (lower(name), id);

DROP INDEX CONCURRENTLY IF EXISTS profile.users_flags;
CREATE INDEX CONCURRENTLY users_flags ON profile.users (is_active, email_verified);

DROP INDEX CONCURRENTLY IF EXISTS profile.users_words;
CREATE INDEX CONCURRENTLY users_words ON profile.users USING gin (profile.words(name));

RESET lock_timeout;

-- How common a word is, is known by the index.
ANALYZE profile.users;

-- +goose Down
DROP INDEX profile.users_created, profile.users_email, profile.users_name,
    profile.users_flags, profile.users_words;
DROP FUNCTION profile.words(text);
