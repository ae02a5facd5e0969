-- Who sent what was reported, since the event itself may be deleted before anybody looks into the report.
ALTER TABLE reports ADD COLUMN sender TEXT;
UPDATE reports SET sender = (SELECT events.sender FROM events WHERE events.event_id = reports.event_id);
