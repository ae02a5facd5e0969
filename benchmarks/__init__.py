"""Halfdoor and Synapse side by side on one machine: the same work, one core for each server, one for the load.

`benchmarks/run` (or `python -m benchmarks`) does everything and prints the ratios; `--help` says how to do less.
"""
