"""The store of embeddings in Lance."""

from __future__ import annotations

import hashlib
import multiprocessing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.moto_server import BUCKET, moto_server

from clip_worker.errors import InvalidRequestError, TemporaryError
from worker.embeddings.lance_store import LanceStore
from worker.embeddings.open import open_store
from worker.embeddings.store import Embedding, Space

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SPACE = Space("a" * 64, "v1-fast", 16)
OTHER = Space("b" * 64, "v1-fast", 16)


def embedding(number: int, image: str = "") -> Embedding:
    feature = np.random.default_rng(number).standard_normal(SPACE.dimensions).astype(np.float32)
    content = hashlib.sha256(str(number).encode()).hexdigest()
    return Embedding(content, image or f"image-{number}", feature / np.linalg.norm(feature))


def scanned(store: LanceStore, position: str | None = None, size: int = 7) -> list[str]:
    return [each for batch in store.scan(SPACE, position, size) for each in batch.contents]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LanceStore]:
    store = LanceStore(str(tmp_path / "store"), index_rows=1000, maintenance_puts=4)
    yield store
    store.close()


def test_what_is_stored_is_found_by_its_content(store: LanceStore) -> None:
    embeddings = [embedding(number) for number in range(30)]

    store.put(SPACE, embeddings)
    found = store.get(SPACE, [embeddings[3].content, "0" * 64, embeddings[20].content])

    assert list(found) == [embeddings[3].content, embeddings[20].content]
    assert found[embeddings[3].content] == pytest.approx(embeddings[3].feature, abs=1e-3)
    assert np.linalg.norm(found[embeddings[20].content]) == pytest.approx(1, abs=1e-6)
    assert store.count(SPACE) == 30
    assert store.spaces() == [SPACE]


@pytest.mark.parametrize("number", [0.0, np.inf, 3.0])
def test_a_damaged_embedding_is_not_found(store: LanceStore, number: float) -> None:
    sound, damaged = embedding(1), embedding(2)
    store.put(SPACE, [sound, damaged._replace(feature=damaged.feature * np.float32(number))])
    assert list(store.get(SPACE, [damaged.content, sound.content])) == [sound.content]


def test_an_empty_store_has_nothing(store: LanceStore) -> None:
    assert store.get(SPACE, [embedding(0).content]) == {}
    assert (store.count(SPACE), store.spaces(), scanned(store)) == (0, [], [])
    assert store.search(SPACE, embedding(0).feature, 3) == []


def test_the_last_embedding_of_a_content_stays(store: LanceStore) -> None:
    store.put(SPACE, [embedding(1), embedding(1, "second")])
    store.put(SPACE, [embedding(1, "third"), embedding(2)])

    batches = list(store.scan(SPACE))

    assert [sorted(batch.images) for batch in batches] == [["image-2", "third"]]


def test_spaces_are_apart(store: LanceStore) -> None:
    store.put(SPACE, [embedding(1)])
    store.put(OTHER, [embedding(2)])

    assert set(store.spaces()) == {SPACE, OTHER}
    assert scanned(store) == [embedding(1).content]


def test_a_scan_continues_and_sees_what_was_there_when_it_began(store: LanceStore) -> None:
    for begin in range(0, 40, 10):
        store.put(SPACE, [embedding(number) for number in range(begin, begin + 10)])
    batches = store.scan(SPACE, size=7)
    first = next(batches)

    store.put(SPACE, [embedding(0, "changed"), embedding(99)])
    store.maintain(SPACE)
    rest = scanned(store, first.position)

    assert sorted([*first.contents, *rest]) == sorted(embedding(i).content for i in range(40))
    assert len(scanned(store)) == 41


@pytest.mark.parametrize("position", ["", "x", "1", "1:x", "-1:2", "999999:0"])
def test_a_position_that_is_none_is_refused(store: LanceStore, position: str) -> None:
    store.put(SPACE, [embedding(1)])

    with pytest.raises(InvalidRequestError) as caught:
        scanned(store, position)

    assert caught.value.code == "BAD_POSITION"


@pytest.mark.parametrize("is_indexed", [False, True])
def test_a_search_finds_the_nearest(store: LanceStore, *, is_indexed: bool) -> None:
    embeddings = [embedding(number) for number in range(1200 if is_indexed else 300)]
    store.put(SPACE, embeddings)
    if is_indexed:
        store.maintain(SPACE)
    query = embedding(77).feature
    cosines = np.stack([each.feature for each in embeddings]) @ query

    hits = store.search(SPACE, query, 5)

    assert hits[0].image == "image-77"
    best = np.sort(cosines)[::-1][:5]
    assert [hit.cosine for hit in hits] == pytest.approx(best, abs=0.02 if is_indexed else 1e-3)


def test_small_files_are_merged_now_and_then(store: LanceStore, tmp_path: Path) -> None:
    for number in range(9):
        store.put(SPACE, [embedding(number)])

    files = {path.name for path in tmp_path.rglob("*.lance") if path.is_file()}

    store.maintain(SPACE)
    assert scanned(store, size=100) == scanned(store, size=100)
    assert store.count(SPACE) == 9
    assert files


def put_shared_and_own(place: str, own: Sequence[int]) -> None:
    store = LanceStore(place, maintenance_puts=5)
    for begin in range(0, 40, 4):
        shared = [embedding(number) for number in range(begin, begin + 4)]
        store.put(SPACE, [*shared, *(embedding(own[0] + begin + i) for i in range(4))])


def test_several_processes_store_at_once_and_each_content_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    place = str(tmp_path / "store")
    writers = [
        context.Process(target=put_shared_and_own, args=(place, [1000 * (number + 1)]))
        for number in range(3)
    ]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    found = scanned(LanceStore(place), size=1000)
    assert len(found) == len(set(found)) == 40 + 3 * 40


def test_a_place_that_can_t_be_written_is_named_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LanceStore(str(tmp_path / "file"))

    with pytest.raises(TemporaryError, match="file' can't be used") as caught:
        store.put(SPACE, [embedding(1)])

    assert caught.value.code == "EMBEDDING_STORE"


def test_a_content_that_is_no_hash_gets_nowhere_near_a_query(store: LanceStore) -> None:
    store.put(SPACE, [embedding(1)])

    with pytest.raises(TemporaryError, match="hexadecimal"):
        store.get(SPACE, ["') OR 1=1 --"])


def test_a_bucket_is_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with moto_server() as moto:
        monkeypatch.setenv("AWS_ENDPOINT", moto.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        store = open_store(f"lance+s3://{BUCKET}/embeddings")

        store.put(SPACE, [embedding(1), embedding(2)])
        store.put(SPACE, [embedding(2, "again")])

        assert store.count(SPACE) == 2
        assert store.search(SPACE, embedding(2).feature, 1)[0].image == "again"
        store.close()


def test_a_url_of_lance_opens_a_store(tmp_path: Path) -> None:
    store = open_store(f"lance://{tmp_path}/store")

    store.put(SPACE, [embedding(1)])

    assert store.count(SPACE) == 1
    with pytest.raises(InvalidRequestError, match="lance:///path"):
        open_store("lance://relative/path")
