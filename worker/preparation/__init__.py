"""Prepares images in processes of their own: from a URI to uint8 pixels in shared memory."""

from worker.preparation.pool import PreparationPool
from worker.preparation.records import ImageRequest, PreparedImage
from worker.preparation.settings import PreparationSettings

__all__ = ["ImageRequest", "PreparationPool", "PreparationSettings", "PreparedImage"]
