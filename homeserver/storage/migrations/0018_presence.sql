-- The last known state of each user; the living one is in memory.
CREATE TABLE presence (
    user_id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    status_msg TEXT,
    last_active_ts BIGINT NOT NULL,
    position BIGINT NOT NULL
);
CREATE INDEX presence_position ON presence (position);
