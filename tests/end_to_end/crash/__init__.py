"""Kill the server at random moments under load, and hold what it promised against what is there.

`python -m tests.end_to_end.crash --help`. The parts: `wire` asks over HTTP, `ledger` notes what was acknowledged,
`view` is what a client knows at a token, `person` makes the load, `checks` hold it all against the server, `run` kills.
"""
