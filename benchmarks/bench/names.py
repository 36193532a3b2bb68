"""What Celery and clip-worker call things in Redis."""

from worker.delivery.keys import QueueKeys
from worker.settings import DEFAULT_QUEUE

QUEUE = DEFAULT_QUEUE  # of all contenders
UNACKED = ("unacked", QueueKeys(QUEUE).unacked)  # kombu's, and ours
RESULT_PREFIX = "celery-task-meta-"
