-- How far people have read. thread_id: '' for the whole room, 'main', or the thread's root.

CREATE TABLE receipts (
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    receipt_type TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event_position BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id, receipt_type, thread_id)
);
CREATE INDEX receipts_by_position ON receipts (room_id, position);
CREATE INDEX receipts_by_stream ON receipts (position);
CREATE INDEX receipts_by_user ON receipts (user_id, receipt_type);
