"""`clip-worker demo`: a Redis, a worker, a dozen images and the results, on this machine."""

from worker.cli.demo.command import command

__all__ = ["command"]
