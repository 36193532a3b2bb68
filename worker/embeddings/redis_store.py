"""Keeps embeddings in Redis, within a budget of bytes: those that were not used for longest go.

Axes: N embeddings, D numbers each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from redis.exceptions import RedisError

from clip_worker.errors import InvalidRequestError, TemporaryError
from clip_worker.quoting import quote
from clip_worker.redis.errors import fault_of
from worker.embeddings.nearest import nearest
from worker.embeddings.redis_values import (
    ID_CHARACTERS,
    SHARDS,
    SIZE,
    SPACES,
    USED,
    decode_feature,
    decode_image,
    encode_value,
    parse_space,
    shard_key,
    space_id,
    space_json,
)
from worker.embeddings.store import Embedding, EmbeddingBatch, Hit, Space
from worker.settings.embeddings import DEFAULT_MAX_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from redis import Redis

CODE = "EMBEDDING_STORE"
# Of Redis's memory, beside the value: the field, the entry of the hash, and the one of the sorted
# set. Measured with Redis 7.0 and rounded up.
ENTRY_BYTES = 280
MOST_AT_ONCE = 1024  # embeddings per script
# More than are added, per script: so it does not hold Redis up after the budget has shrunk.
MOST_EVICTED = 4096
SCAN_COUNT = 512  # entries per command

# KEYS: USED, SIZE, SPACES. ARGV: prefix of the space's shards, its id, its JSON, now, the budget,
# bytes of an entry beside its value, characters of an id, most evictions, the prefix of all shards;
# then contents and values in turn.
_PUT = """
local function shard(prefix, content)
  return prefix .. string.format(':%02x', string.byte(content))
end
local added, entry, idlen = 0, tonumber(ARGV[6]), tonumber(ARGV[7])
local function size(length)  -- of the block that jemalloc gives: there are four between powers of 2
  local _, exponent = math.frexp(length + 15)
  local step = 2 ^ (exponent - 3)
  return entry + math.ceil((length + 16) / step) * step
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
for i = 10, #ARGV, 2 do
  local content, value = ARGV[i], ARGV[i + 1]
  local key = shard(ARGV[1], content)
  local old = redis.call('HSTRLEN', key, content)
  if old > 0 then added = added - size(old) end
  redis.call('HSET', key, content, value)
  redis.call('ZADD', KEYS[1], ARGV[4], ARGV[2] .. content)
  added = added + size(#value)
end
local total = redis.call('INCRBY', KEYS[2], added)
local most, left, freed = tonumber(ARGV[5]), tonumber(ARGV[8]) + (#ARGV - 9) / 2, 0
while total - freed > most and left > 0 do
  local popped = redis.call('ZPOPMIN', KEYS[1], 64)
  if #popped == 0 then
    freed = total
    break
  end
  for i = 1, #popped, 2 do
    local content = string.sub(popped[i], idlen + 1)
    local key = shard(ARGV[9] .. string.sub(popped[i], 1, idlen), content)
    local length = redis.call('HSTRLEN', key, content)
    if redis.call('HDEL', key, content) == 1 then freed = freed + size(length) end
    left = left - 1
  end
end
if freed > 0 then redis.call('INCRBY', KEYS[2], -freed) end
"""


class RedisStore:
    """An `EmbeddingStore` in Redis. Threads and processes may share it.

    Args:
        redis: A client that returns bytes.
        max_bytes: Of Redis's memory for the embeddings of all spaces.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        redis: Redis,
        max_bytes: int = DEFAULT_MAX_BYTES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._max_bytes = max_bytes
        self._now = now
        self._put = redis.register_script(_PUT)  # computes its digest; sends nothing

    def get(self, space: Space, contents: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Features float32 `[D]` of those contents that are stored, in one round trip."""
        if not contents:
            return {}
        name, now = space_id(space), self._now()
        fields = {content: bytes.fromhex(content) for content in contents}
        shards = _by_shard(fields.values())
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            for shard, of_shard in shards.items():
                pipe.hmget(shard_key(name, shard), of_shard)
            pipe.zadd(USED, {name.encode() + field: now for field in fields.values()}, xx=True)
            *replies, _ = pipe.execute()
        values = {
            field.hex(): value
            for of_shard, reply in zip(shards.values(), replies, strict=True)
            for field, value in zip(of_shard, reply, strict=True)
            if value is not None
        }
        found = {
            content: decode_feature(value, space.dimensions) for content, value in values.items()
        }
        return {content: feature for content, feature in found.items() if feature is not None}

    def put(self, space: Space, embeddings: Sequence[Embedding]) -> None:
        """Store embeddings, up to 1,024 a round trip, and remove the oldest beyond the budget."""
        name = space_id(space)
        for begin in range(0, len(embeddings), MOST_AT_ONCE):
            entries: list[bytes] = []
            for embedding in embeddings[begin : begin + MOST_AT_ONCE]:
                entries += (bytes.fromhex(embedding.content), encode_value(embedding))
            prefix = shard_key(name, 0).rpartition(":")[0]
            arguments: list[Any] = [
                *(prefix, name, space_json(space), self._now(), self._max_bytes),
                *(ENTRY_BYTES, ID_CHARACTERS, MOST_EVICTED, prefix.removesuffix(name)),
            ]
            with _translated():
                self._put(keys=[USED, SIZE, SPACES], args=arguments + entries)

    def count(self, space: Space) -> int:
        """How many are stored."""
        name = space_id(space)
        with _translated(), self._redis.pipeline(transaction=False) as pipe:
            for shard in range(SHARDS):
                pipe.hlen(shard_key(name, shard))
            return sum(pipe.execute())

    def spaces(self) -> Sequence[Space]:
        """The spaces of which something is stored."""
        with _translated():
            stored: Any = self._redis.hgetall(SPACES)
        found = [space for text in stored.values() if (space := parse_space(text))]
        return [space for space in found if self.count(space)]

    def scan(
        self, space: Space, position: str | None = None, size: int = 65_536
    ) -> Iterator[EmbeddingBatch]:
        """Yield all embeddings, each content once; a position is a number of 0 to 256.

        It stays valid when Redis is restarted and while embeddings are added and removed.

        Raises:
            InvalidRequestError: `BAD_POSITION`.
        """
        first = _shard_of(position)
        name, rows = space_id(space), dict[bytes, bytes]()
        for shard in range(first, SHARDS):
            for part in self._scan_shard(name, shard):
                rows |= part
            if rows and (len(rows) >= size or shard == SHARDS - 1):
                yield _batch(rows, space, str(shard + 1))
                rows = {}

    def search(self, space: Space, feature: NDArray[np.float32], k: int) -> Sequence[Hit]:
        """The k nearest images by cosine, by comparing all of them."""
        return nearest(self.scan(space), feature, k)

    def close(self) -> None:
        """Close the connections; again does nothing."""
        self._redis.close()

    def _scan_shard(self, name: str, shard: int) -> Iterator[dict[bytes, bytes]]:
        cursor = 0
        while True:
            with _translated():
                found: Any = self._redis.hscan(shard_key(name, shard), cursor, count=SCAN_COUNT)
            cursor, part = found
            yield part
            if not cursor:
                return


def _by_shard(fields: Iterable[bytes]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for field in fields:
        found.setdefault(field[0], []).append(field)
    return found


def _shard_of(position: str | None) -> int:
    if position is None:
        return 0
    if not position.isascii() or not position.isdigit() or int(position) > SHARDS:
        raise InvalidRequestError(
            f"{quote(position)} is not a position of a scan of embeddings in Redis; give a number "
            f"of 0 to {SHARDS}, or start from the beginning.",
            "BAD_POSITION",
        )
    return int(position)


def _batch(rows: Mapping[bytes, bytes], space: Space, position: str) -> EmbeddingBatch:
    features = {
        field: feature
        for field, value in rows.items()
        if (feature := decode_feature(value, space.dimensions)) is not None
    }
    return EmbeddingBatch(
        [field.hex() for field in features],
        [decode_image(rows[field], space.dimensions) for field in features],
        np.stack(list(features.values())) if features else np.empty((0, space.dimensions), "f4"),
        position,
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        reason = fault_of(error) or f"{error}".splitlines()[0].rstrip(".") or type(error).__name__
        raise TemporaryError(
            f"The Redis with the embeddings can't be used: {reason}. Check the URL "
            "(CLIP_WORKER_EMBEDDING_STORE).",
            CODE,
        ) from error
