"""The four processes of the pipeline."""
