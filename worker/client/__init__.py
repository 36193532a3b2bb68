"""The Python producer: `Client(url).classify(image, labels, k=5).get()`.

It loads neither torch nor the engine, so a web backend can import it. Any other Celery
client that sends `clip.classify` with the same arguments gets the same result (`worker.contract`).
"""

from worker.client.client import Client

__all__ = ["Client"]
