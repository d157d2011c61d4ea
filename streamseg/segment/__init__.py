"""Segments picture files, and writes for each a folder of masks, their records, and an overlay."""
