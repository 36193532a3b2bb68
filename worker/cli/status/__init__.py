"""`clip-worker status`: queues, workers, and what looks wrong."""
