-- The room in which the server speaks to a user. A user has one at most.
CREATE TABLE server_notice_rooms (
    user_id TEXT PRIMARY KEY,
    room_id TEXT NOT NULL
);
CREATE UNIQUE INDEX server_notice_rooms_by_room ON server_notice_rooms (room_id);
