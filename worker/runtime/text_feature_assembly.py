"""Lets a worker share the text features of labels with the other workers of its fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_worker.redis.url import connect
from worker.text_features.redis_features import RedisFeatures, space_of
from worker.text_features.shared_features import SharedFeatures

if TYPE_CHECKING:
    from clip_engine.engine import Engine
    from worker.settings import Settings

TIMEOUT_S = 1.0  # of Redis; encoding a few labels takes less
CONNECTIONS = 4


def share_text_features(settings: Settings, engine: Engine) -> None:
    """Have the engine's label cache ask Redis, unless the settings turn that off."""
    max_bytes = settings.shared_text_features_max_bytes
    if max_bytes and engine.acceleration.cached_text:
        redis = connect(settings.redis_url, retries=1, most=CONNECTIONS, timeout_s=TIMEOUT_S)
        space = space_of(engine, settings.activation)
        store = RedisFeatures(redis, space, engine.model.embed_dim, max_bytes)
        engine.labels.share(SharedFeatures(store))
