"""Features of labels in Redis: one hash a model, and a sorted set of who encodes what.

Axes: D embedding.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from clip_worker.contract.keys import text_features_key, text_leases_key

if TYPE_CHECKING:
    from redis import Redis
    from torch import Tensor

    from clip_engine.engine import Engine

FORMAT = 1  # changes with whatever changes the bytes of a feature
KEPT_S = 30 * 86_400  # after the last feature of a model was written
# Of Redis's memory: the field and the entry of the hash, and a string's header. Measured with Redis
# 7.0 and rounded up.
ENTRY_BYTES, HEADER_BYTES = 120, 16
MOST_EVICTED = 1000  # a script, so that it does not hold Redis up after the budget has shrunk
LENGTH_TOLERANCE = 1e-3  # of a feature, which is normalised

# KEYS: features, leases. ARGV: most to claim, seconds of a lease, then fields. Returns the
# positions of the claimed fields, from 0 on.
_CLAIM = """
local time = redis.call('TIME')
local now, most, claimed = tonumber(time[1]) + time[2] / 1e6, tonumber(ARGV[1]), {}
for i = 3, #ARGV do
  if #claimed == most then break end
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then
    local lapses = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[i]) or 0)
    if lapses <= now or lapses > now + ARGV[2] then
      redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[i])
      table.insert(claimed, i - 3)
    end
  end
end
if #claimed > 0 then redis.call('EXPIRE', KEYS[2], math.ceil(ARGV[2])) end
return claimed
"""
# KEYS: as above. ARGV: most features, most evictions, seconds that they are kept, then fields and
# values in turn.
_WRITE = """
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
local over = math.min(redis.call('HLEN', KEYS[1]) - ARGV[1], tonumber(ARGV[2]))
if over > 0 then redis.call('HDEL', KEYS[1], unpack(redis.call('HRANDFIELD', KEYS[1], over))) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""


class RedisFeatures:
    """The features that workers with the same model share. Threads may share it.

    Args:
        redis: A client that returns bytes.
        space: What the features depend on besides label and templates, from `space_of`.
        dim: D.
        max_bytes: Of Redis's memory for this model's features; beyond it, random ones are removed.
    """

    def __init__(self, redis: Redis, space: str, dim: int, max_bytes: int) -> None:
        self._redis = redis
        self._keys = (text_features_key(space), text_leases_key(space))
        self._dim = dim
        self._most = max(1, max_bytes // entry_bytes(dim))
        self._claim = redis.register_script(_CLAIM)  # computes its digest; sends nothing
        self._write = redis.register_script(_WRITE)

    def read(self, fields: Sequence[bytes]) -> list[Tensor | None]:
        """The features, float32 `[D]` each; None for those that are not there.

        What is no feature of this model is deleted.

        Raises:
            RedisError: As redis-py raises it.
        """
        values: Any = self._redis.hmget(self._keys[0], fields)
        found = [None if value is None else self._decoded(value) for value in values]
        damaged = [
            field
            for field, value, feature in zip(fields, values, found, strict=True)
            if value is not None and feature is None
        ]
        if damaged:
            self._redis.hdel(self._keys[0], *damaged)
        return found

    def claim(self, fields: Sequence[bytes], most: int, lease_s: float) -> list[int]:
        """Take leases on features that are neither there nor being encoded by another worker.

        Args:
            fields: In the order of preference.
            most: How many to take at most.
            lease_s: Seconds after which another worker may take them.

        Returns:
            The positions of the fields that are now the caller's to write or to release.

        Raises:
            RedisError: As redis-py raises it.
        """
        claimed: Any = self._claim(keys=self._keys, args=(most, lease_s, *fields))
        return [int(position) for position in claimed]

    def write(self, fields: Sequence[bytes], features: Sequence[Tensor]) -> None:
        """Store features, and end the leases on them.

        Raises:
            RedisError: As redis-py raises it.
        """
        values = (feature.numpy().astype("<f4", copy=False).tobytes() for feature in features)
        pairs = (part for pair in zip(fields, values, strict=True) for part in pair)
        self._write(keys=self._keys, args=(self._most, MOST_EVICTED, KEPT_S, *pairs))

    def release(self, fields: Sequence[bytes]) -> None:
        """End leases whose features could not be encoded.

        Raises:
            RedisError: As redis-py raises it.
        """
        self._redis.zrem(self._keys[1], *fields)

    def _decoded(self, value: bytes) -> Tensor | None:
        """The feature, if it is one of this model."""
        if len(value) != 4 * self._dim:
            return None
        feature = torch.frombuffer(bytearray(value), dtype=torch.float32)  # [D]
        length = float(feature.norm())
        return feature if math.isclose(length, 1.0, abs_tol=LENGTH_TOLERANCE) else None


def entry_bytes(dim: int) -> int:
    """Redis's memory for a feature of this many numbers.

    jemalloc, which most builds of Redis have, knows four sizes between two powers of 2.
    """
    size = 4 * dim + HEADER_BYTES
    step: int = 1 << max(0, (size - 1).bit_length() - 3)
    return ENTRY_BYTES + math.ceil(size / step) * step


def space_of(engine: Engine, activation: str | None) -> str:
    """What the features of a model's labels depend on, as a part of a key.

    Args:
        engine: The model.
        activation: Of its MLPs, if that was given and not the checkpoint's.
    """
    model = engine.model
    # The text tower computes in float32, whatever the precision of the image tower.
    parts = (FORMAT, engine.identity.digest, activation, model.device.type, model.embed_dim)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def field_of(templates: tuple[str, ...], label: str) -> bytes:
    """The field of a label with these templates: a SHA-256, 32 bytes."""
    return hashlib.sha256(json.dumps([templates, label]).encode()).digest()
