"""What Celery and clip-worker call things in Redis."""

QUEUE = "celery"
UNACKED = ("unacked", "clip-worker:celery:unacked")  # kombu's, and ours
RESULT_PREFIX = "celery-task-meta-"
