-- Everybody who can be found, local and remote. search_* are folded for comparison (case, width).
CREATE TABLE user_directory (
    user_id TEXT PRIMARY KEY,
    display_name TEXT,
    avatar_url TEXT,
    search_id TEXT NOT NULL,
    search_name TEXT NOT NULL
);
