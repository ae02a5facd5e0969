-- Applications that registered themselves. The same metadata is the same client, however often it registers.
CREATE TABLE oauth_clients (
    client_id TEXT PRIMARY KEY,
    metadata_hash TEXT NOT NULL UNIQUE,
    metadata TEXT NOT NULL,
    used_ts BIGINT NOT NULL
);
