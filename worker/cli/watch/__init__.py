"""`clip-worker watch`: tag images as they arrive."""
