"""Limits for visitors from the public web; docs/recipes.md tells how to size them."""

from __future__ import annotations

from typing import Final

MAX_GALLERIES: Final = 100  # open tabs
MAX_STREAMS: Final = 4  # open event streams of a gallery
MAX_PICTURES: Final = 1_000  # of a gallery
MAX_UPLOAD_BYTES: Final = 10_000_000  # of a picture
MAX_KEPT_BYTES: Final = 512 * 1024 * 1024  # of all uploads in Redis
MAX_LABELS: Final = 100
MAX_LABEL_CHARS: Final = 200
MAX_LABEL_SETS: Final = 20  # stored ones that are offered
MAX_URL_CHARS: Final = 2_000
MAX_HITS: Final = 60  # pictures that a search shows
SEARCH_S: Final = 20.0  # then a search fails
MAX_WAITING: Final = 500  # messages in the queue
UPLOAD_TTL_S: Final = 3_600.0  # then the browser uploads the picture again
EXPIRES_S: Final = 120.0  # a task that waits longer is sent again
SILENCE_S: Final = 5.0  # without an answer; then the page says why
