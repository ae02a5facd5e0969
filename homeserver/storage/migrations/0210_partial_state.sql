-- Rooms that were joined before their whole state was here (Server-Server API, send_join with omit_members).
--
-- partial_states: servers is what the resident server told of who is in the room (a JSON list); base_position is where the
-- room's log of state changes begins to tell of this stay. whole_position: when the rest had come; NULL until then.
-- waiting_events: events that could not be judged by a part of the state; they are kept without a place until the whole
-- is here, and are received then. Positions of their rows in events give their order.

CREATE TABLE partial_states (
    room_id TEXT PRIMARY KEY,
    resident TEXT NOT NULL,
    servers TEXT NOT NULL,
    join_event_id TEXT NOT NULL,
    base_position BIGINT NOT NULL,
    begun_ts BIGINT NOT NULL,
    whole_position BIGINT
);

CREATE TABLE waiting_events (
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (room_id, event_id)
);
