"""Trains the small segmenter `nano`."""
