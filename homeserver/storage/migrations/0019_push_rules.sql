-- What a user changed of the server's default rules, and the rules of their own: one JSON object each.
CREATE TABLE push_rules (
    user_id TEXT PRIMARY KEY,
    rules TEXT NOT NULL,
    position BIGINT NOT NULL
);
