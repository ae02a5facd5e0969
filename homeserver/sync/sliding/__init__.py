"""Simplified sliding sync (MSC4186): the rooms that a client looks at, and of those what it asked for."""
