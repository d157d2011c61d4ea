"""Sizes a machine: `streamseg bench` runs the whole pipeline and measures it. May use every other room but `cli`."""
