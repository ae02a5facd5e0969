-- Names of rooms, and the rooms that the public directory lists.

CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    room_id TEXT NOT NULL,
    creator TEXT NOT NULL
);
CREATE INDEX aliases_by_room ON aliases (room_id);

CREATE TABLE published_rooms (
    room_id TEXT NOT NULL,
    network_id TEXT NOT NULL,
    appservice_id TEXT NOT NULL,
    PRIMARY KEY (room_id, appservice_id, network_id)
);
