-- How far other servers were told of our events.
--
-- destinations.is_behind: 1 when this server is to be caught up with from sent_position on. Whoever is not behind was
-- told of everything up to the place of the reader 'events' in federation_places: a server that keeps up costs no row.
-- failing_since_ts: when the failures began; tried_at_ts: when it was last tried in vain (milliseconds).
-- txn_number is not used any more.
--
-- own_newest_events: the newest event of ours in each room that other servers are in.
-- farewells: events by which a user was removed, for servers that are behind and in the room no more.
-- outgoing_edus.about: of what is about the same thing, only the newest is kept for a server.

ALTER TABLE destinations ADD COLUMN is_behind BIGINT NOT NULL DEFAULT 1;
ALTER TABLE destinations ADD COLUMN failing_since_ts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN tried_at_ts BIGINT NOT NULL DEFAULT 0;

CREATE TABLE own_newest_events (
    room_id TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
CREATE INDEX own_newest_events_by_position ON own_newest_events (position);

CREATE TABLE farewells (
    destination TEXT NOT NULL,
    position BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    PRIMARY KEY (destination, position)
);

ALTER TABLE outgoing_edus ADD COLUMN about TEXT;
CREATE UNIQUE INDEX outgoing_edus_by_subject ON outgoing_edus (destination, about) WHERE about IS NOT NULL;
