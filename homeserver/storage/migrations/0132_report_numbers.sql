-- Operators' tools know reports by number, in the order in which they came.
ALTER TABLE reports ADD COLUMN number BIGINT;
UPDATE reports SET number = (
    SELECT COUNT(*) FROM reports AS earlier WHERE earlier.created_ts < reports.created_ts
    OR (earlier.created_ts = reports.created_ts AND earlier.report_id <= reports.report_id)
);
CREATE UNIQUE INDEX reports_by_number ON reports (number);
