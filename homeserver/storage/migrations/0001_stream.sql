-- The one stream: its counter, in a single row that the committing transaction locks.

CREATE TABLE stream (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    position BIGINT NOT NULL
);

INSERT INTO stream (one, position) VALUES (1, 0);

-- postgresql:

-- The last batch that each process has committed: it is looked up when a connection was lost during COMMIT.
CREATE TABLE writers (
    writer_id TEXT NOT NULL PRIMARY KEY,
    batch BIGINT NOT NULL,
    opened_at_ms BIGINT NOT NULL
);
