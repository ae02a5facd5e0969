-- Tokens are kept as SHA-256: who reads this table cannot act as anybody.
CREATE TABLE access_tokens (
    token_id BIGINT PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    expires_ts BIGINT,
    refresh_id BIGINT,
    is_unused BIGINT NOT NULL
);
CREATE INDEX access_tokens_device ON access_tokens (user_id, device_id);

-- A refresh token is spent once the pair that it was exchanged for has been used; a spent one that comes back was stolen.
CREATE TABLE refresh_tokens (
    refresh_id BIGINT PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    expires_ts BIGINT,
    parent_id BIGINT,
    is_spent BIGINT NOT NULL
);
CREATE INDEX refresh_tokens_device ON refresh_tokens (user_id, device_id);
CREATE INDEX refresh_tokens_parent ON refresh_tokens (parent_id);

-- Single-use tokens by which a logged-in client lets another one in (m.login.token).
CREATE TABLE login_tokens (
    token_hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);
