-- Events that are sent later (MSC4140). `status`: 0 scheduled, 1 being sent, 2 done. `scheduled_at` is the place in the
-- stream where the event was scheduled; `outcome`, `reason`, `error`, `event_id` and `done_ms` say how it ended.
CREATE TABLE delayed_events (
    delay_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT,
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT,
    content TEXT NOT NULL,
    delay_ms BIGINT NOT NULL,
    running_since_ms BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    origin_server_ts BIGINT,
    sticky_ms BIGINT,
    transaction_key TEXT,
    scheduled_at BIGINT NOT NULL,
    status BIGINT NOT NULL,
    outcome TEXT,
    reason TEXT,
    error TEXT,
    event_id TEXT,
    done_ms BIGINT
);
CREATE INDEX delayed_events_of_user ON delayed_events (user_id, status);
CREATE INDEX delayed_events_waiting ON delayed_events (status, due_ms) WHERE status < 2;
