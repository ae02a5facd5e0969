-- Somebody is to show that an address is theirs. The client's secret and the code of the message are kept as SHA-256;
-- token_hash is NULL when no code can end the session: it was used, or no code was sent at all.
CREATE TABLE validation_sessions (
    sid TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    send_attempt BIGINT NOT NULL,
    token_hash TEXT,
    next_link TEXT,
    sent_ts BIGINT NOT NULL,
    validated_ts BIGINT
);
CREATE UNIQUE INDEX validation_sessions_wanted ON validation_sessions (purpose, medium, address, secret_hash);
CREATE INDEX validation_sessions_sent ON validation_sessions (sent_ts);
