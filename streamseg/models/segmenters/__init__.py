"""Segmenters: prompts in, masks out. Each subpackage is one family; none imports another's runtime."""
