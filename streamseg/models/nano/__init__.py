"""The small segmenter of our own: box in, mask out, its weights inside the package."""
