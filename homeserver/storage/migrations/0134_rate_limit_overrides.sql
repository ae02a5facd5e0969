-- How fast single users may send, in place of the configured limit. Both 0: no limit.
CREATE TABLE rate_limit_overrides (
    user_id TEXT PRIMARY KEY,
    per_second BIGINT NOT NULL,
    burst BIGINT NOT NULL
);
