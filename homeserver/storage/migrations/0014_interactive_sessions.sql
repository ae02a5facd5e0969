-- User-interactive authentication. session_hash is SHA-256 of the session id; body_digest is keyed with the session id
-- itself, so that neither the operation nor a password in it can be guessed from here.
CREATE TABLE interactive_sessions (
    session_hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    flows TEXT NOT NULL,
    completed TEXT NOT NULL,
    created_ts BIGINT NOT NULL
);
CREATE INDEX interactive_sessions_created ON interactive_sessions (created_ts);
