-- When a file was last asked for (to the hour), who put it in quarantine, and whether nobody may.
ALTER TABLE media ADD COLUMN last_access_ms BIGINT;
ALTER TABLE media ADD COLUMN quarantined_by TEXT;
ALTER TABLE media ADD COLUMN is_protected BIGINT NOT NULL DEFAULT 0;
CREATE INDEX media_by_content ON media (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX media_by_file ON media (file_key) WHERE file_key IS NOT NULL;
CREATE INDEX media_thumbnails_by_key ON media_thumbnails (thumbnail_key);
