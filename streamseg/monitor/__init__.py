"""Counts the events of a run once, and shows them several times. May use what the stages report, and the settings."""
