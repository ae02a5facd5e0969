"""The command line: one command a file, each with `add_to(subparsers)` and a function that runs it."""
