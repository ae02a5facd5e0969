-- Signing keys of other servers, as they published them, and the state of each destination.
--
-- server_keys.valid_until_ts: milliseconds; of an old key (is_old = 1), when it was last used.
-- destinations: failures in a row, and until when (milliseconds) nobody is to be asked again.

CREATE TABLE server_keys (
    server_name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    verify_key TEXT NOT NULL,
    valid_until_ts BIGINT NOT NULL,
    is_old BIGINT NOT NULL,
    PRIMARY KEY (server_name, key_id)
);

CREATE TABLE destinations (
    server_name TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    retry_at_ts BIGINT NOT NULL,
    sent_position BIGINT NOT NULL,
    txn_number BIGINT NOT NULL
);

CREATE TABLE received_transactions (
    origin TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    answer TEXT NOT NULL,
    received_ts BIGINT NOT NULL,
    PRIMARY KEY (origin, txn_id)
);
CREATE INDEX received_transactions_by_age ON received_transactions (received_ts);
