"""Trains the small segmenter `nano`. Uses the models' own drawing, and propagation for priors as runs have them."""
