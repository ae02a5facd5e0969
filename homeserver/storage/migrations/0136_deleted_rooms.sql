-- Who was in a room that was deleted, for devices that have not heard of it yet: they are told once that it is gone.
CREATE TABLE deleted_rooms (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    created_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id)
);
CREATE INDEX deleted_rooms_by_time ON deleted_rooms (created_ts);
