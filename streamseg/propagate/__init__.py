"""Masks on their way from the frame they were made on to newer ones: arrays in, arrays out."""
