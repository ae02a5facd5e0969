-- Local users' profiles: one JSON object each, at most 64 KiB.
CREATE TABLE profiles (
    user_id TEXT PRIMARY KEY,
    fields TEXT NOT NULL
);
