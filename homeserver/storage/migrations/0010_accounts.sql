-- People, guests, and the ghosts of application services. password_hash is NULL for those who cannot log in with one.
CREATE TABLE accounts (
    user_id TEXT PRIMARY KEY,
    password_hash TEXT,
    created_ts BIGINT NOT NULL,
    is_guest BIGINT NOT NULL,
    is_admin BIGINT NOT NULL,
    is_locked BIGINT NOT NULL,
    is_suspended BIGINT NOT NULL,
    is_deactivated BIGINT NOT NULL,
    is_erased BIGINT NOT NULL,
    appservice_id TEXT,
    user_type TEXT
);
