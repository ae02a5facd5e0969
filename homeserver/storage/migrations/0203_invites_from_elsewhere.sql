-- Invites to rooms that this server is not in: what the inviting server told of the room (stripped state, as JSON).

CREATE TABLE invites_from_elsewhere (
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    stripped_state TEXT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
