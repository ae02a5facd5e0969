-- Which version of each document somebody has accepted last.
CREATE TABLE consents (
    user_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    version TEXT NOT NULL,
    accepted_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, policy)
);
