-- What each sliding sync connection of a device has been sent. A connection is a row here and rows of positions: one
-- that holds everything (is_whole), and what each later answer added to it.
CREATE TABLE sliding_sync_connections (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    conn_id TEXT NOT NULL,
    used_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, conn_id)
);
CREATE INDEX sliding_sync_connections_by_use ON sliding_sync_connections (used_ts);

CREATE TABLE sliding_sync_positions (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    conn_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    is_whole BIGINT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, conn_id, number)
);
