-- What other servers have published and signed of their keys (JSON), for those who ask this server as a notary.

CREATE TABLE published_keys (
    server_name TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    fetched_ts BIGINT NOT NULL
);
CREATE INDEX published_keys_by_age ON published_keys (fetched_ts);
