"""The commands that store, list and remove label sets; for clients with and without coroutines.

The newest version of `animals` is in the key that clients and workers without numbers know too, and
each version in a key of its own that ends in `@` and its number, which is the key that a request
for `animals@3` reads. A hash lists the versions: numbers, digests and times by name. A stream tells
workers what is new.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from clip_worker.contract.keys import LABEL_SETS, NEW_LABEL_SETS, label_set_key
from clip_worker.contract.label_set_names import LabelSetVersion, check_new_name, split_version
from clip_worker.contract.label_sets import MOST_BYTES, LabelSet
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.quoting import quote

VERSIONS_KEPT = 50  # of a set; the oldest go first
ANNOUNCED = 32  # versions that a worker may learn of later
REFUSED = -1
NUMBER_BYTES = 64  # that are enough for the number, which the script adds

_VERSIONS = """
local function versions_of(index, name)
  local ok, found = pcall(cjson.decode, redis.call('HGET', index, name) or '[]')
  return ok and type(found) == 'table' and found or {}
end
"""
# KEYS: the newest version, the index, the stream. ARGV: name, content, digest, time, versions kept,
# length of the stream. Returns the number, and whether it is new.
PUT_SCRIPT = (
    _VERSIONS
    + """
local newest, index = KEYS[1], KEYS[2]
local name, content, digest, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local versions = versions_of(index, name)
local last = versions[#versions]

local function write(key, number, json)
  redis.call('SET', key, '{"number": ' .. number .. ', ' .. string.sub(json, 2))
end
local function add(json, digest)
  local number = (last and last[1] or 0) + 1
  while redis.call('EXISTS', newest .. '@' .. number) == 1 do number = number + 1 end
  write(newest .. '@' .. number, number, json)
  last = {number, digest, now}
  table.insert(versions, last)
end

-- What a client without numbers has stored meanwhile becomes a version, too.
local stored = redis.pcall('GET', newest)
local unnumbered = type(stored) == 'string' and string.match(stored, '^{"version": "(%x+)"')
if unnumbered then add(stored, unnumbered) end

local is_new = not last or last[2] ~= digest
if is_new then add(content, digest) end
write(newest, last[1], content)
while #versions > tonumber(ARGV[5]) do
  redis.call('DEL', newest .. '@' .. table.remove(versions, 1)[1])
end
redis.call('HSET', index, name, cjson.encode(versions))
if is_new then
  redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[6], '*', 'name', name .. '@' .. last[1])
end
return {last[1], is_new and 1 or 0}
"""
)
# KEYS: the newest version, the index. ARGV: name; the number of one version, or an empty string.
# Returns how many keys were deleted; -1 if the version is the newest of several.
REMOVE_SCRIPT = (
    _VERSIONS
    + """
local newest, index, name = KEYS[1], KEYS[2], ARGV[1]
local versions = versions_of(index, name)
local number = tonumber(ARGV[2])
if not number then
  for _, version in ipairs(versions) do redis.call('DEL', newest .. '@' .. version[1]) end
  redis.call('HDEL', index, name)
  return redis.call('DEL', newest)
end
for place, version in ipairs(versions) do
  if version[1] == number then
    local key = newest .. '@' .. number
    if redis.pcall('GET', newest) == redis.call('GET', key) then
      if #versions > 1 then return -1 end
      redis.call('DEL', newest)
    end
    redis.call('DEL', key)
    table.remove(versions, place)
    if #versions == 0 then
      redis.call('HDEL', index, name)
    else
      redis.call('HSET', index, name, cjson.encode(versions))
    end
    return 1
  end
end
return 0
"""
)

_Versions = TypeAdapter(list[tuple[int, str, float]])


class ScriptCall(NamedTuple):
    """A Lua script with what it is given."""

    script: str
    keys: Sequence[str]
    args: Sequence[str | int]


class StoredVersion(NamedTuple):
    """Where a label set was stored.

    Attributes:
        number: Of the version.
        is_new: Whether it was made; else the newest version had this content.
    """

    number: int
    is_new: bool


def put_call(name: str, label_set: LabelSet, now: float | None = None) -> ScriptCall:
    """The call that stores a set; the reply is for `StoredVersion`.

    Args:
        name: Of the set.
        label_set: Its new content.
        now: Unix time in seconds.

    Raises:
        InvalidRequestError: The name is that of a version, or the set is too large.
    """
    check_new_name(name)
    stored_at = int(time.time() if now is None else now)
    content = label_set.to_json()
    if len(content) > MOST_BYTES - NUMBER_BYTES:
        raise InvalidRequestError(
            f"The label set {quote(name)} has {len(content):,} bytes as JSON; store at most "
            f"{MOST_BYTES - NUMBER_BYTES:,}.",
            "TOO_MANY_LABELS",
        )
    args = (name, content, label_set.version, stored_at, VERSIONS_KEPT, ANNOUNCED)
    return ScriptCall(PUT_SCRIPT, (label_set_key(name), LABEL_SETS, NEW_LABEL_SETS), args)


def stored_version(reply: Sequence[int]) -> StoredVersion:
    """What the reply of `put_call` says."""
    return StoredVersion(reply[0], bool(reply[1]))


def remove_calls(name: str) -> list[ScriptCall]:
    """The calls that remove a set or a version, to be made until one has removed something.

    The second one is for a set that was stored under a name such as `animals@3` before there were
    versions.
    """
    base, number = split_version(name)
    whole = ScriptCall(REMOVE_SCRIPT, (label_set_key(name), LABEL_SETS), (name, ""))
    if number is None:
        return [whole]
    version = ScriptCall(REMOVE_SCRIPT, (label_set_key(base), LABEL_SETS), (base, number))
    return [version, whole]


def check_removed(name: str, replies: Sequence[int]) -> None:
    """Check the replies of `remove_calls`.

    Raises:
        InvalidRequestError: `UNKNOWN_LABEL_SET`; or it is the newest of several versions.
    """
    if REFUSED in replies:
        base, _ = split_version(name)
        raise InvalidRequestError(
            f"{quote(name)} is the newest version, which requests for {quote(base)} get; store "
            f"other labels as {quote(base)} first, or remove {quote(base)} with all its versions."
        )
    if not any(replies):
        raise unknown_label_set(name)


def listed_versions(index: Mapping[bytes, bytes]) -> list[LabelSetVersion]:
    """What the index lists, by name and number.

    Args:
        index: The reply of `HGETALL`.

    Raises:
        ServiceError: `BAD_LABEL_SET`: something else is stored there.
    """
    try:
        found = [
            LabelSetVersion(name=name.decode(), number=number, version=version, stored_at=stored_at)
            for name, versions in index.items()
            for number, version, stored_at in _Versions.validate_json(versions)
        ]
    except (ValidationError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"The list of label sets in Redis ({LABEL_SETS}) can't be read; delete that key, and "
            "store the label sets again.",
            "BAD_LABEL_SET",
        ) from error
    return sorted(found, key=lambda each: (each.name, each.number))


def unknown_label_set(name: str) -> InvalidRequestError:
    """The error for a set or a version that is not stored."""
    base, number = split_version(name)
    what = f"label set {quote(name)}" if number is None else f"version {number} of {quote(base)}"
    return InvalidRequestError(
        f"There is no {what}; `clip-worker labels list` shows what is stored, and "
        "Client.put_label_set stores labels.",
        "UNKNOWN_LABEL_SET",
    )
