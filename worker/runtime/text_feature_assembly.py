"""Lets a worker share text features with others, and encode new label sets ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_worker.redis.label_sets import LabelSets
from clip_worker.redis.url import connect
from worker.pipeline.image_task import TaggingRequest
from worker.pipeline.scoring_plan import ScoringPlanner
from worker.text_features.new_label_sets import NewLabelSets
from worker.text_features.redis_features import RedisFeatures, space_of
from worker.text_features.shared_features import SharedFeatures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_engine.engine import Engine
    from clip_engine.scoring.text_features import TextList
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


def build_new_label_sets(
    settings: Settings, engine: Engine, is_idle: Callable[[], bool]
) -> NewLabelSets:
    """What encodes new label sets ahead; not started.

    Args:
        settings: Of this worker.
        engine: Its model.
        is_idle: Whether it has nothing to do.
    """
    # Not cached: what is announced is newer than what was read a moment ago.
    sets = LabelSets(connect(settings.redis_url, retries=0, most=2), fresh_s=0)
    planner = ScoringPlanner(engine, sets)

    def lists(name: str) -> Sequence[TextList]:
        return planner.of_label_set(TaggingRequest((), (), 1, label_set=name)).lists

    redis = connect(settings.redis_url, retries=0, most=2)
    return NewLabelSets(redis, engine.labels, lists=lists, is_idle=is_idle)
