-- What a room's graph of events needs once other servers write in it too.
--
-- branch_states: the state before the events whose events.state_group names it: that of state_changes at base_position,
-- except differences, which is JSON: [[type, state_key, event_id or null], ...].
-- unknown_events: what known events name as their predecessors, and this server has not (yet).
-- waiting_redactions: redactions of events that this server did not have when they came.

CREATE TABLE branch_states (
    state_group BIGINT PRIMARY KEY,
    room_id TEXT NOT NULL,
    base_position BIGINT NOT NULL,
    differences TEXT NOT NULL
);
CREATE INDEX branch_states_by_room ON branch_states (room_id);

CREATE TABLE unknown_events (
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    named_by TEXT NOT NULL,
    PRIMARY KEY (room_id, event_id, named_by)
);

CREATE TABLE waiting_redactions (
    room_id TEXT NOT NULL,
    redacts TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (room_id, redacts, event_id)
);
