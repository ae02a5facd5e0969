-- Accounts of identity providers and whose they are: by issuer and subject, never by a name that can change (F12).
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user ON identities (user_id);

-- Logins that were sent to a provider and have not come back. browser_hash: the only browser that may bring them back.
CREATE TABLE identity_attempts (
    state_hash TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL,
    browser_hash TEXT NOT NULL,
    nonce TEXT NOT NULL,
    code_verifier TEXT NOT NULL,
    next_page TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);

-- People whom a provider vouched for, who have yet to choose a user name here.
CREATE TABLE identity_newcomers (
    browser_hash TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    localpart TEXT NOT NULL,
    display_name TEXT,
    email TEXT,
    provider_session TEXT,
    next_page TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);

-- Sessions that began with a provider's login, which the provider may end. device_id "": not of one device.
CREATE TABLE identity_sessions (
    provider_id TEXT NOT NULL,
    provider_session TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);
CREATE INDEX identity_sessions_provider ON identity_sessions (provider_id, provider_session);

-- Logout tokens that were obeyed, so that each is only once.
CREATE TABLE identity_logouts (
    token_id TEXT PRIMARY KEY,
    expires_ts BIGINT NOT NULL
);
