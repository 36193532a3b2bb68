"""`clip-worker demo`: a Redis, a worker, a dozen images and the results, on this machine."""
