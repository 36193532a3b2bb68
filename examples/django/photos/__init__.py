"""Photos that clip-worker tags."""
