CREATE TABLE devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_ts BIGINT NOT NULL,
    last_seen_ts BIGINT,
    last_seen_ip TEXT,
    last_seen_user_agent TEXT,
    PRIMARY KEY (user_id, device_id)
);

-- Who changed a device or its keys, once per user: the newest position is all that a reader asks for.
CREATE TABLE device_list_changes (
    user_id TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
CREATE INDEX device_list_changes_position ON device_list_changes (position);
