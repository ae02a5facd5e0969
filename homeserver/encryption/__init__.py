"""End-to-end encryption as far as a server takes part: keys that devices publish, their signatures, backups of keys."""
