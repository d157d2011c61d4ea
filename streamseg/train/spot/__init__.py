"""Training of the small detector `spot`."""
