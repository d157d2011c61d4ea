"""Detectors; none of them imports torch."""
