-- What people granted to applications. Codes are kept as SHA-256.
CREATE TABLE oauth_codes (
    code_hash TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    browser_hash TEXT NOT NULL,
    expires_ts BIGINT NOT NULL,
    is_used BIGINT NOT NULL
);

-- state: pending, approved, denied or used.
CREATE TABLE oauth_device_codes (
    code_hash TEXT PRIMARY KEY,
    user_code_hash TEXT NOT NULL UNIQUE,
    client_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    expires_ts BIGINT NOT NULL,
    polled_ts BIGINT NOT NULL,
    interval_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    user_id TEXT,
    browser_hash TEXT
);

-- The devices whose tokens were obtained by OAuth 2.0. code_hash: the code that was exchanged, if one was.
CREATE TABLE oauth_sessions (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    code_hash TEXT,
    created_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);
CREATE INDEX oauth_sessions_client ON oauth_sessions (client_id);
