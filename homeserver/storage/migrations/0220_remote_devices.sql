-- The device lists of users of other servers that share a room with users of this one.
--
-- remote_device_lists.stream_id: the newest update that the list has in it; -1 before there is a list.
-- is_stale = 1: an update is missing, so the list is to be asked for anew, not before retry_at_ts (milliseconds), after
-- so many failures in a row. master_key, self_signing_key, remote_devices.keys: JSON.

CREATE TABLE remote_device_lists (
    user_id TEXT PRIMARY KEY,
    stream_id BIGINT NOT NULL,
    is_stale BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    retry_at_ts BIGINT NOT NULL,
    master_key TEXT,
    self_signing_key TEXT
);

CREATE TABLE remote_devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    keys TEXT NOT NULL,
    display_name TEXT,
    PRIMARY KEY (user_id, device_id)
);
