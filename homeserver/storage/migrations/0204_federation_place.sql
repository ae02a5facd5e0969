-- How far in the stream the readers of federation are, by what they read.

CREATE TABLE federation_places (
    reader TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
