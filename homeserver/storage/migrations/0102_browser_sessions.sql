-- People who are logged in on the server's own pages. proved_ts: when they last proved who they are.
CREATE TABLE browser_sessions (
    session_hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    proved_ts BIGINT NOT NULL,
    expires_ts BIGINT NOT NULL,
    provider_id TEXT,
    provider_session TEXT
);
CREATE INDEX browser_sessions_user ON browser_sessions (user_id);

-- Who allowed a client to replace their cross-signing keys, and until when.
CREATE TABLE cross_signing_resets (
    user_id TEXT PRIMARY KEY,
    expires_ts BIGINT NOT NULL
);
