"""Fetches images by URIs of untrusted users (docs/inputs.md).

fetcher = Fetcher(FetchPolicy(file_roots=(Path("/data"),)), FetchLimits())
fetcher.fetch("file:///data/cat.jpg")  # -> bytes, or an error of clip_worker.errors
"""

from clip_worker.contract.uri import validate_uri
from worker.sources.fetcher import Fetcher
from worker.sources.policy import FetchLimits, FetchPolicy

__all__ = ["FetchLimits", "FetchPolicy", "Fetcher", "validate_uri"]
