"""The client of `clip_worker`, under the name that it had before."""

from clip_worker import Client, Handle, as_completed

__all__ = ["Client", "Handle", "as_completed"]
