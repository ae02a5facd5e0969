-- Until when accounts may be used, where the operator lets them end. token_hash is that of the link in the last e-mail.
CREATE TABLE account_validity (
    user_id TEXT PRIMARY KEY,
    expires_ts BIGINT NOT NULL,
    sends_mails BIGINT NOT NULL,
    mailed_ts BIGINT,
    token_hash TEXT UNIQUE
);
CREATE INDEX account_validity_expires ON account_validity (expires_ts);
