-- The epoch of the cache: part of every key, raised when Redis could not be told of a change.

-- +goose Up
CREATE SCHEMA cache;

CREATE TABLE cache.epoch (
    epoch bigint NOT NULL
);
INSERT INTO cache.epoch VALUES (1);

-- +goose Down
DROP SCHEMA cache CASCADE;
