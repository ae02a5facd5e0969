"""The same conversations played on Synapse and on Halfdoor, and their answers compared."""
