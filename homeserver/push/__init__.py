"""Push: what deserves a user's attention."""
