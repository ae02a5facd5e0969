-- What users reported to those who run the server. event_id and user_id are NULL where that was not reported.
CREATE TABLE reports (
    report_id TEXT PRIMARY KEY,
    created_ts BIGINT NOT NULL,
    reporter TEXT NOT NULL,
    room_id TEXT,
    event_id TEXT,
    user_id TEXT,
    reason TEXT NOT NULL
);
CREATE INDEX reports_by_time ON reports (created_ts);
