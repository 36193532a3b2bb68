"""`clip-worker classify`: ask the workers which labels fit images."""

from worker.cli.classify.command import command

__all__ = ["command"]
