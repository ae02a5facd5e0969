-- Messages between devices that came from other servers, so that none is delivered twice however often it comes.

CREATE TABLE received_messages (
    origin TEXT NOT NULL,
    message_id TEXT NOT NULL,
    received_ts BIGINT NOT NULL,
    PRIMARY KEY (origin, message_id)
);
CREATE INDEX received_messages_by_age ON received_messages (received_ts);
