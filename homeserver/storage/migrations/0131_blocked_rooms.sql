-- Rooms that nobody of this server may enter, whether the server knows them or not. user_id: who blocked it.
CREATE TABLE blocked_rooms (
    room_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL
);
