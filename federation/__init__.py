"""Makes the homeserver one of many. It plugs into homeserver/, which does not know it."""
