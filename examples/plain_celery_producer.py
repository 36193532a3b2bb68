"""A producer that has Celery but not this package: it knows broker, queue and task by name.

python plain_celery_producer.py redis://localhost:6379/0 https://example.org/cat.jpg cat dog
"""

from __future__ import annotations

import json
import sys

from celery import Celery


def main(redis_url: str, image: str, *labels: str) -> None:
    """Tag one picture and print the JSON that came back."""
    app = Celery(broker=redis_url, backend=redis_url)
    # Without a queue the task would go to Celery's own, `celery`, which clip-worker doesn't read.
    app.conf.task_routes = {"clip.*": {"queue": "clip"}}  # or send_task(..., queue="clip")
    task = app.send_task("clip.classify", kwargs={"image": image, "labels": labels, "k": 3})
    print(json.dumps(task.get(timeout=60), indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
