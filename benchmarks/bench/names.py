"""What Celery and clip-worker call things in Redis."""

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

QUEUE = DEFAULT_QUEUE  # of all contenders
KEYS = QueueKeys(QUEUE)
KOMBUS_UNACKED = "unacked"
RESULT_PREFIX = "celery-task-meta-"
