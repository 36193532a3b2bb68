"""Checks the store of embeddings, if there is one: whether a worker can use it, and its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.doctor.embeddings_in_lance import check_lance_space, check_lance_store
from worker.cli.doctor.embeddings_in_redis import check_redis_budget, check_redis_store
from worker.cli.doctor.examined_redis import ExaminedRedis
from worker.cli.doctor.finding import Finding, ok
from worker.settings.embeddings import lance_place

if TYPE_CHECKING:
    from worker.settings import Settings

VARIABLE = "CLIP_WORKER_EMBEDDING_STORE"
OFF = f"{VARIABLE} is unset, so no embedding is kept."


def check_store(settings: Settings) -> Finding:
    """Whether the store can be reached, read and written; nothing is written to it."""
    url = settings.embedding_store
    if url is None:
        return ok(OFF)
    if place := lance_place(url):
        return check_lance_store(place)
    return check_redis_store(ExaminedRedis(url, VARIABLE))


def check_budget(settings: Settings) -> Finding:
    """Whether there is room for the embeddings."""
    url = settings.embedding_store
    if url is None:
        return ok(OFF)
    if place := lance_place(url):
        return check_lance_space(place)
    return check_redis_budget(ExaminedRedis(url, VARIABLE), settings.embedding_store_max_bytes)
