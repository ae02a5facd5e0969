-- What pages said of themselves, until expires_ms; `body` is a JSON object, NULL when the page told nothing.
CREATE TABLE url_previews (
    url TEXT PRIMARY KEY,
    fetched_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    body TEXT,
    media_id TEXT
);
CREATE INDEX url_previews_by_expiry ON url_previews (expires_ms);
