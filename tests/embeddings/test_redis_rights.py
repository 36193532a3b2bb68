"""The worker's user of `deploy/redis/users.acl` may keep embeddings; the other users may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.failure import code_of
from support.redis_acl import CLIENT, OPERATOR, WORKER, acl_server

from worker.embeddings.open import open_store
from worker.embeddings.store import Embedding, Space

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

SPACE = Space("a" * 64, "test", 4)
FEATURE = np.array([1, 0, 0, 0], np.float32)


def test_only_the_worker_may_keep_embeddings(tmp_path: Path) -> None:
    embedding = Embedding("0a" * 32, "https://example.com/cat.jpg", FEATURE)
    with acl_server(tmp_path) as server:
        store = open_store(server.url(WORKER), max_bytes=2000)
        # more than the budget, so that some are removed
        store.put(SPACE, [embedding._replace(content=f"{n:064x}") for n in range(100)])
        store.put(SPACE, [embedding])
        assert list(store.get(SPACE, [embedding.content])) == [embedding.content]
        assert 0 < store.count(SPACE) < 10
        assert store.spaces() == [SPACE]
        assert len(store.search(SPACE, FEATURE, 1)) == 1
        store.close()
        assert server.refusals() == []
        for user in (CLIENT, OPERATOR):
            other = open_store(server.url(user))
            assert code_of(other.put, SPACE, [embedding]) == "EMBEDDING_STORE"
            other.close()
        other = open_store(server.url(CLIENT))
        assert code_of(other.get, SPACE, [embedding.content]) == "EMBEDDING_STORE"
        other.close()
