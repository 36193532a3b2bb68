"""A producer that has Celery but not this package: it knows the broker's URL and the task's name.

python plain_celery_producer.py redis://localhost:6379/0 https://example.org/cat.jpg cat dog
"""

from __future__ import annotations

import json
import sys

from celery import Celery


def main(redis_url: str, image: str, *labels: str) -> None:
    """Tag one picture and print the JSON that came back."""
    app = Celery(broker=redis_url, backend=redis_url)
    task = app.send_task("clip.classify", kwargs={"image": image, "labels": labels, "k": 3})
    print(json.dumps(task.get(timeout=60), indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
