"""Halfdoor and a real Synapse in one federation, seen from the clients of both."""
