-- Tokens by which an administrator acts as a user for a while, without a device of the user's. Kept as SHA-256.
CREATE TABLE operator_logins (
    token_hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    admin_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    expires_ts BIGINT NOT NULL
);
CREATE INDEX operator_logins_by_user ON operator_logins (user_id);
CREATE INDEX operator_logins_by_admin ON operator_logins (admin_id);
