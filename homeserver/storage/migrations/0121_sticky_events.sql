-- Events that every member of the room is told of as long as they hold (MSC4354).
CREATE TABLE sticky_events (
    position BIGINT NOT NULL PRIMARY KEY,
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX sticky_events_of_room ON sticky_events (room_id, position);
CREATE INDEX sticky_events_expiry ON sticky_events (expires_ms);
