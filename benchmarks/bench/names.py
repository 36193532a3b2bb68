"""What Celery and clip-worker call things in Redis."""

from worker.contract.keys import QueueKeys
from worker.settings import DEFAULT_QUEUE

QUEUE = DEFAULT_QUEUE  # of all contenders
KEYS = QueueKeys(QUEUE)
KOMBUS_UNACKED = "unacked"
RESULT_PREFIX = "celery-task-meta-"
