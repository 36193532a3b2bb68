"""Whether a worker starts, takes tasks, drains or is stuck, and the HTTP server that tells it."""
