-- Login tokens of the legacy API that a browser session gave out: so a device that logs in by one is known to belong to
-- a provider's session.
CREATE TABLE identity_login_tokens (
    token_hash TEXT PRIMARY KEY,
    browser_hash TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);
