"""Settings of a worker: environment variables `CLIP_WORKER_*`, checked together at the start.

One module and base class a group of settings. `docs/settings.md` is generated from the fields: the
default, or the extra `unset` where that is computed, and the description, which is Markdown.
"""

from worker.settings.batches import PROVISIONAL_BATCH
from worker.settings.settings import Settings, SettingsError

__all__ = ["PROVISIONAL_BATCH", "Settings", "SettingsError"]
