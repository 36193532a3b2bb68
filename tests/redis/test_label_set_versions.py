"""Versions of label sets: numbered by what is stored, readable by number, and removed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.failure import failure_of
from support.waiting import LIMIT_S

from clip_worker.contract import LabelSet, LabelSetVersion
from clip_worker.contract.keys import LABEL_SETS, NEW_LABEL_SETS, label_set_key
from clip_worker.redis.label_set_commands import ANNOUNCED, VERSIONS_KEPT
from clip_worker.redis.label_sets import LabelSets
from clip_worker.redis.url import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

pytestmark = pytest.mark.integration

CATS, DOGS, BIRDS = (LabelSet(labels=(name,)) for name in ("cat", "dog", "bird"))


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as redis:
        yield redis


@pytest.fixture
def sets(redis: Redis) -> LabelSets:
    return LabelSets(redis)


def put(sets: LabelSets, *contents: LabelSet, name: str = "animals") -> list[int]:
    return [sets.put(name, each).number for each in contents]


def labels_of(sets: LabelSets, name: str) -> tuple[str, ...]:
    return sets.read(name).labels


def by_an_older_client(redis: Redis, label_set: LabelSet, name: str = "animals") -> None:
    """Store a set as clients did before there were numbers."""
    redis.set(label_set_key(name), label_set.to_json())


def listed(sets: LabelSets) -> list[str]:
    return [each.exact_name for each in sets.versions()]


def test_different_content_makes_the_next_version_and_the_same_makes_none(sets: LabelSets) -> None:
    assert put(sets, CATS, CATS, DOGS, DOGS, CATS) == [1, 1, 2, 2, 3]
    assert [sets.put("animals", each).is_new for each in (CATS, BIRDS)] == [False, True]
    names = ["animals", *(f"animals@{number}" for number in range(1, 5))]
    found = [labels_of(sets, name)[0] for name in names]
    assert found == ["bird", "cat", "dog", "cat", "bird"]
    assert [sets.read(name).number for name in names] == [4, 1, 2, 3, 4]
    assert {each.version for each in sets.versions()} == {
        each.version for each in (CATS, DOGS, BIRDS)
    }


def test_versions_are_listed_by_name_and_number(sets: LabelSets) -> None:
    put(sets, *(LabelSet(labels=(f"label {number}",)) for number in range(11)))
    put(sets, CATS, name="a")
    assert listed(sets) == ["a@1", *(f"animals@{number}" for number in range(1, 12))]
    assert sets.names() == ["a", "animals"]
    assert sets.versions()[0].version == CATS.version


def test_only_the_newest_versions_are_kept(sets: LabelSets, redis: Redis) -> None:
    more = 3
    put(sets, *(LabelSet(labels=(f"{n}",)) for n in range(VERSIONS_KEPT + more)))
    assert len(listed(sets)) == VERSIONS_KEPT
    assert listed(sets)[0] == f"animals@{more + 1}"
    error = failure_of(sets.read, f"animals@{more}")
    assert error.code == "UNKNOWN_LABEL_SET"
    assert error.message.startswith(f"There is no version {more} of 'animals'")
    assert len(redis.keys("clip-worker:label-set:*")) == VERSIONS_KEPT + 1
    assert redis.xlen(NEW_LABEL_SETS) == ANNOUNCED


def test_a_name_like_that_of_a_version_is_refused_with_the_right_one(sets: LabelSets) -> None:
    error = failure_of(sets.put, "animals@3", CATS)
    assert error.code == "INVALID_REQUEST"
    assert "store the labels as 'animals'" in error.message
    assert put(sets, CATS, name="me@home") == [1]


@pytest.mark.parametrize("removed", [1, 2])
def test_a_version_is_removed_and_its_number_is_not_given_again(
    sets: LabelSets, removed: int
) -> None:
    put(sets, CATS, DOGS, BIRDS)
    sets.remove(f"animals@{removed}")
    assert failure_of(sets.read, f"animals@{removed}").code == "UNKNOWN_LABEL_SET"
    assert failure_of(sets.remove, f"animals@{removed}").code == "UNKNOWN_LABEL_SET"
    assert listed(sets) == [f"animals@{number}" for number in (1, 2, 3) if number != removed]
    assert put(sets, CATS) == [4]


def test_the_newest_of_several_versions_is_not_removed(sets: LabelSets) -> None:
    put(sets, CATS, DOGS)
    error = failure_of(sets.remove, "animals@2")
    assert "'animals@2' is the newest version" in error.message
    assert labels_of(sets, "animals") == labels_of(sets, "animals@2") == ("dog",)


@pytest.mark.parametrize("name", ["animals", "animals@1"])
def test_nothing_is_left_of_a_set_that_is_removed(sets: LabelSets, redis: Redis, name: str) -> None:
    put(sets, *((CATS, DOGS, BIRDS) if name == "animals" else (CATS,)))
    sets.remove(name)
    assert redis.keys("*") == [NEW_LABEL_SETS.encode()]
    assert failure_of(sets.remove, name).code == "UNKNOWN_LABEL_SET"
    assert put(sets, DOGS) == [1]


def test_a_set_of_an_older_client_becomes_a_version_when_it_is_replaced(
    sets: LabelSets, redis: Redis
) -> None:
    # given a set without numbers, which is listed and read
    by_an_older_client(redis, CATS)
    assert (labels_of(sets, "animals"), sets.read("animals").number) == (("cat",), None)
    assert (sets.names(), listed(sets)) == (["animals"], [])
    # when
    assert put(sets, DOGS) == [2]
    # then
    assert labels_of(sets, "animals@1") == ("cat",)
    # and so does what such a client stores in between
    by_an_older_client(redis, BIRDS)
    assert labels_of(sets, "animals") == ("bird",)
    assert put(sets, BIRDS, CATS) == [3, 4]


def test_an_older_client_reads_the_newest_version_under_the_old_key(
    sets: LabelSets, redis: Redis
) -> None:
    put(sets, CATS, DOGS)
    stored = json.loads(redis.get(label_set_key("animals")) or b"")
    assert stored == {
        "number": 2,
        "version": DOGS.version,
        "hierarchical": False,
        "labels": ["dog"],
        "calibration": None,
    }


def test_a_set_with_a_name_like_a_versions_stays_what_it_is(sets: LabelSets, redis: Redis) -> None:
    by_an_older_client(redis, BIRDS, "animals@2")
    assert put(sets, CATS, DOGS) == [1, 3]
    assert labels_of(sets, "animals@2") == ("bird",)
    assert sets.names() == ["animals", "animals@2"]
    sets.remove("animals@2")
    assert failure_of(sets.read, "animals@2").code == "UNKNOWN_LABEL_SET"
    assert sets.names() == ["animals"]


@pytest.mark.parametrize("left", [b"{", b'"x"', b"", b"5"])
def test_labels_can_be_stored_where_the_list_of_versions_is_damaged(
    sets: LabelSets, redis: Redis, left: bytes
) -> None:
    put(sets, CATS)
    redis.hset(LABEL_SETS, "animals", left)
    assert failure_of(sets.versions).code == "BAD_LABEL_SET"
    assert put(sets, DOGS) == [2]
    assert labels_of(sets, "animals@1") == ("cat",)


@pytest.mark.parametrize("fields", [{"number": 0}, {"number": "x"}, {"version": 5}])
def test_a_list_of_versions_with_other_types_is_refused(
    sets: LabelSets, redis: Redis, fields: dict[str, object]
) -> None:
    entry = {"number": 1, "version": "0" * 12, "at": 1.5} | fields
    redis.hset(LABEL_SETS, "animals", json.dumps([list(entry.values())]))
    error = failure_of(sets.versions)
    assert (error.code, LABEL_SETS in error.message) == ("BAD_LABEL_SET", True)


def test_what_is_stored_by_several_at_once_has_a_number_each(redis_url: str) -> None:
    def put_some(part: int) -> list[tuple[int, str]]:
        with connect(redis_url) as redis:
            sets = LabelSets(redis)
            contents = [LabelSet(labels=(f"{part} {each}",)) for each in range(5)]
            return [(sets.put("animals", each).number, each.version) for each in contents]

    with ThreadPoolExecutor(8) as pool:
        stored = [each for some in pool.map(put_some, range(8), timeout=LIMIT_S) for each in some]
    with connect(redis_url) as redis:
        sets = LabelSets(redis)
        assert sorted(number for number, _ in stored) == list(range(1, 41))
        assert [(each.number, each.version) for each in sets.versions()] == sorted(stored)
        assert sets.read("animals").number == 40
        assert all(sets.read(f"animals@{n}").version == version for n, version in stored)


def test_what_is_listed_says_how_a_request_names_it(sets: LabelSets) -> None:
    put(sets, CATS)
    [found] = sets.versions()
    assert found == LabelSetVersion(
        name="animals", number=1, version=CATS.version, stored_at=found.stored_at
    )
    assert found.exact_name == "animals@1"
