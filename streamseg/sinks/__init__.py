"""Where results are written: video and JSON Lines."""
