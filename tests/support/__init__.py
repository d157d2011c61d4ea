"""Shared by tests: builders, servers, runs of the command, the original SAM."""
