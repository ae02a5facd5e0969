-- Rooms, their events and their state.
--
-- events.position is the event's place in the one stream; history fetched from other servers takes negative ones.
-- The state before an event is the room's state_changes before its position, unless state_group says otherwise.
-- events.status: 0 accepted, 1 soft-failed, 2 rejected, 3 known but outside the timeline.

CREATE TABLE rooms (
    room_id TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    creator TEXT NOT NULL,
    extremities TEXT NOT NULL,
    created_position BIGINT NOT NULL
);

CREATE TABLE events (
    position {POSITION} PRIMARY KEY,
    event_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT,
    sender TEXT NOT NULL,
    depth BIGINT NOT NULL,
    origin_server_ts BIGINT NOT NULL,
    status BIGINT NOT NULL,
    state_group BIGINT,
    replaces TEXT,
    relates_to TEXT,
    relation TEXT,
    transaction_key TEXT,
    redacted_by TEXT,
    json TEXT NOT NULL
);
CREATE UNIQUE INDEX events_by_id ON events (event_id);
CREATE INDEX events_by_room ON events (room_id, position);
CREATE INDEX events_by_relation ON events (relates_to, relation, position) WHERE relates_to IS NOT NULL;
CREATE UNIQUE INDEX events_by_transaction ON events (sender, room_id, transaction_key)
    WHERE transaction_key IS NOT NULL;

CREATE TABLE state_changes (
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT NOT NULL,
    position BIGINT NOT NULL,
    event_id TEXT,
    PRIMARY KEY (room_id, type, state_key, position)
);
CREATE INDEX state_changes_by_position ON state_changes (room_id, position);

CREATE TABLE current_state (
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (room_id, type, state_key)
);

CREATE TABLE memberships (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    membership TEXT NOT NULL,
    event_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    position BIGINT NOT NULL,
    forgotten BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id)
);
CREATE INDEX memberships_by_room ON memberships (room_id, membership);
