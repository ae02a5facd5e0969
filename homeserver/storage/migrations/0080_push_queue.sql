-- Notifications on their way to push gateways and mailboxes: how far the stream was read for them (one row), what waits
-- for each pusher, and how each pusher fares. A waiting row with an empty event_id tells only a changed number of unread
-- events.

ALTER TABLE pushers ADD COLUMN updated_ts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pushers ADD COLUMN enabled BIGINT NOT NULL DEFAULT 1;

CREATE TABLE push_place (
    name TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);

CREATE TABLE push_queue (
    user_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    pushkey TEXT NOT NULL,
    position BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    actions TEXT NOT NULL,
    queued_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, app_id, pushkey, position)
);

CREATE TABLE push_progress (
    user_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    pushkey TEXT NOT NULL,
    failures BIGINT NOT NULL,
    next_try_ts BIGINT NOT NULL,
    badge BIGINT,
    sent_ts BIGINT NOT NULL,
    pause_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, app_id, pushkey)
);
