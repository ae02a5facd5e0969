-- The full-text index: which events it holds, under which words, and how far it has read the stream.
-- Words are kept as keyed hashes (search_place.secret), so that the index never holds a second copy of what people
-- said, not even in pages that were freed (G04). edit_id: the edit whose content is indexed in place of the event's own.

CREATE TABLE search_place (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    position BIGINT NOT NULL,
    secret TEXT NOT NULL
);

CREATE TABLE search_events (
    position {POSITION} PRIMARY KEY,
    event_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    search_key TEXT NOT NULL,
    edit_id TEXT
);
CREATE UNIQUE INDEX search_events_by_id ON search_events (event_id);
CREATE INDEX search_events_by_edit ON search_events (edit_id) WHERE edit_id IS NOT NULL;

-- sqlite:
CREATE VIRTUAL TABLE search_terms USING fts5(terms, tokenize = 'ascii');

-- postgresql:
CREATE TABLE search_terms (
    position BIGINT NOT NULL PRIMARY KEY,
    terms TSVECTOR NOT NULL
);
CREATE INDEX search_terms_by_term ON search_terms USING GIN (terms);
