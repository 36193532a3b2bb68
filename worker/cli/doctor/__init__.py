"""`clip-worker doctor`: checks Redis, the queue, the rights, the model and the machine."""
