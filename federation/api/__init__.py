"""The Server-Server API: what other servers ask of this one."""
