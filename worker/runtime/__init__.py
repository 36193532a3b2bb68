"""What makes a Celery process a clip-worker: start and stop, assembly, watchdog, remote control."""
