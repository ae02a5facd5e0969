-- A file, or the promise of one: `file_key` is NULL until it is uploaded, and `expires_ms` says when the promise ends.
CREATE TABLE media (
    server_name TEXT NOT NULL,
    media_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    file_key TEXT,
    sha256 TEXT,
    size BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    file_name TEXT,
    is_quarantined BIGINT NOT NULL,
    PRIMARY KEY (server_name, media_id)
);
CREATE INDEX media_of_user ON media (user_id, size);
CREATE INDEX media_pending ON media (user_id, expires_ms) WHERE file_key IS NULL;

-- Thumbnails that were made of a file, so that they are made once.
CREATE TABLE media_thumbnails (
    file_key TEXT NOT NULL,
    variant TEXT NOT NULL,
    thumbnail_key TEXT NOT NULL,
    size BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    PRIMARY KEY (file_key, variant)
);
