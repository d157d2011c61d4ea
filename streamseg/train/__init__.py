"""Training of the small segmenter."""
