"""What arrives in a folder: complete files, each content once, whatever writes them."""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.arriving import Arrived
from support.failure import failure_of

from clip_worker.feeds import arriving_file, open_writers
from clip_worker.feeds.folder_arrivals import FolderArrivals
from clip_worker.feeds.folder_events import FolderEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Watch = "Callable[..., Arrived]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


@pytest.fixture
def watch(folder: Path) -> Iterator[Callable[..., Arrived]]:
    """Watches the folder, by events alone unless another pause between scans is given."""
    opened: list[FolderArrivals] = []

    def begin(rescan_s: float = 1e6, settle_s: float = 0.0) -> Arrived:
        opened.append(FolderArrivals(folder, rescan_s=rescan_s, settle_s=settle_s))
        return Arrived(opened[-1])

    yield begin
    for each in opened:
        each.close()


def begun(watch: Callable[..., Arrived], folder: Path) -> Arrived:
    """Watched by events from now on: what is there was found by the first scan."""
    (folder / "first.jpg").write_bytes(b"1")
    arrived = watch()
    arrived.wait_for(1)
    return arrived


def test_files_that_are_there_are_found_and_those_of_other_kinds_are_not(folder, watch):
    for name in ("a.jpg", "b.PNG", "below/c.webp"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"1")
    for name in ("a.txt", ".hidden.jpg", "~a.jpg", "a.jpg.part", "b.jpg.crdownload", "c.tmp"):
        (folder / name).write_bytes(b"1")
    (folder / ".trash").mkdir()
    (folder / ".trash" / "d.jpg").write_bytes(b"1")
    (folder / "empty.jpg").touch()

    arrived = watch()
    arrived.wait_for(3)

    assert sorted(arrived.images) == [
        str(folder / name) for name in ("a.jpg", "b.PNG", "below/c.webp")
    ]
    assert {item.path for item in arrived.items} == {
        folder / name for name in ("a.jpg", "b.PNG", "below/c.webp")
    }
    assert arrived.poll(0.3) == []


def test_a_new_file_is_reported_by_the_system(folder, watch):
    arrived = begun(watch, folder)

    (folder / "new.jpg").write_bytes(b"1")

    assert [item.image for item in arrived.wait_for(2)] == [str(folder / "new.jpg")]


def test_a_file_is_taken_when_its_writer_has_closed_it(folder, watch):
    arrived = begun(watch, folder)
    with (folder / "slow.jpg").open("wb") as slow:
        slow.write(b"half of ")
        slow.flush()
        (folder / "quick.jpg").write_bytes(b"1")
        assert [item.image for item in arrived.wait_for(2)] == [str(folder / "quick.jpg")]
        assert arrived.poll(0.6) == []
        slow.write(b"a picture")

    (taken,) = arrived.wait_for(3)

    assert taken.key.startswith("slow.jpg 17 ")


def test_where_the_system_knows_no_writers_a_file_must_stay_as_it_is(folder, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(arriving_file, "has_writer", lambda path: None)
    path = folder / "a.jpg"
    path.write_bytes(b"1")
    file = arriving_file.ArrivingFile(str(path), arriving_file.Version.of(str(path)), since=now)

    assert not file.is_complete(now + 1.9, 2.0)
    path.write_bytes(b"12")
    assert not file.is_complete(now + 2.1, 2.0)  # it has changed
    assert not file.is_complete(now + 4.0, 2.0)
    assert file.is_complete(now + 4.1, 2.0)


def test_where_the_system_knows_no_writers_an_old_file_is_taken_at_once(folder, monkeypatch):
    monkeypatch.setattr(arriving_file, "has_writer", lambda path: None)
    path = folder / "a.jpg"
    path.write_bytes(b"1")
    os.utime(path, (1e9, 1e9))
    file = arriving_file.ArrivingFile(str(path), arriving_file.Version.of(str(path)), since=0.0)

    assert file.is_complete(0.0, 2.0)


def test_a_writer_that_opens_the_file_meanwhile_does_not_end_this_process(folder):
    # The signal of a broken lease ends a process by default.
    path = folder / "a.jpg"
    path.write_bytes(b"1")
    child = os.fork()
    if child == 0:
        for _ in range(3000):
            os.close(os.open(path, os.O_WRONLY))
        os._exit(0)
    found = set()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        found.add(open_writers.has_writer(str(path)))

    assert found <= {True, False}
    assert open_writers.has_writer(str(path)) is False


def test_a_file_that_is_renamed_into_place_is_taken_once(folder, watch):
    arrived = begun(watch, folder)
    (folder / "a.jpg.part").write_bytes(b"1")
    assert arrived.poll(0.4) == []

    (folder / "a.jpg.part").rename(folder / "a.jpg")

    assert [item.image for item in arrived.wait_for(2)] == [str(folder / "a.jpg")]
    assert arrived.poll(0.4) == []


def test_a_folder_that_is_moved_into_place_and_one_that_is_made_are_watched(
    folder, watch, tmp_path
):
    arrived = begun(watch, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jpg").write_bytes(b"1")

    (tmp_path / "other").rename(folder / "moved")
    arrived.wait_for(2)
    (folder / "moved" / "b.jpg").write_bytes(b"1")
    arrived.wait_for(3)
    (folder / "x" / "y").mkdir(parents=True)
    (folder / "x" / "y" / "c.jpg").write_bytes(b"1")
    arrived.wait_for(4)

    names = ("first.jpg", "moved/a.jpg", "moved/b.jpg", "x/y/c.jpg")
    assert arrived.images == [str(folder / name) for name in names]


def test_a_changed_file_is_a_new_item_and_a_restart_yields_nothing_that_was_seen(folder, watch):
    arrived = begun(watch, folder)
    (folder / "first.jpg").write_bytes(b"another")
    (changed,) = arrived.wait_for(2)
    assert changed.image == arrived.items[0].image
    assert changed.key != arrived.items[0].key

    again = FolderArrivals(folder, settle_s=0.0)
    again.open(lambda keys: set(keys) & {changed.key})
    assert not again.poll(0.7, 100)
    again.close()


def test_scans_find_what_the_events_did_not_report(folder, watch, monkeypatch):
    monkeypatch.setattr("clip_worker.feeds.folder_events.FolderEvents._add", lambda *_: None)
    arrived = watch(rescan_s=0.1)
    (folder / "a.jpg").write_bytes(b"1")
    arrived.wait_for(1)

    (folder / "b.jpg").write_bytes(b"1")
    arrived.wait_for(2)


def test_a_scan_goes_on_past_files_that_events_report_at_the_same_time(folder, watch, monkeypatch):
    for number in range(25):
        (folder / f"{number}.jpg").write_bytes(b"1")
    reported = next(folder.iterdir())  # which the scan finds first, too

    def report(events: FolderEvents) -> None:
        events._add([str(reported)])
        events._incomplete.set()

    monkeypatch.setattr(FolderEvents, "start", report)
    monkeypatch.setattr("clip_worker.feeds.folder_arrivals.CHUNK", 10)

    watch().wait_for(25)


def test_too_many_events_lead_to_a_scan(folder, watch, monkeypatch):
    monkeypatch.setattr("clip_worker.feeds.folder_events.MOST_PATHS", 1)
    arrived = begun(watch, folder)

    for number in range(50):
        (folder / f"{number}.jpg").write_bytes(b"1")

    arrived.wait_for(51)


def test_symbolic_links_are_not_followed_and_are_named_once(folder, watch, tmp_path, caplog):
    (tmp_path / "secret.jpg").write_bytes(b"1")
    (folder / "below").mkdir()
    (folder / "below" / "loop").symlink_to(folder)
    (folder / "outside").symlink_to(tmp_path)
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    arrived = watch(rescan_s=0.1)
    (folder / "a.jpg").write_bytes(b"1")

    with caplog.at_level(logging.WARNING):
        arrived.wait_for(1)
        (folder / "below" / "b.jpg").write_bytes(b"1")
        arrived.wait_for(2)
        assert arrived.poll(0.5) == []

    assert arrived.images == [str(folder / "a.jpg"), str(folder / "below" / "b.jpg")]
    (line,) = [record.getMessage() for record in caplog.records if "link.jpg" in record.message]
    assert line.endswith("link.jpg': it is a symbolic link, which is not followed.")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named_and_taken_when_it_can(folder, watch, caplog):
    (folder / "a.jpg").write_bytes(b"1")
    (folder / "a.jpg").chmod(0)
    arrived = watch(rescan_s=0.1)
    with caplog.at_level(logging.WARNING):
        assert arrived.poll(0.5) == []
    assert "can't be read: Permission denied." in caplog.text

    (folder / "a.jpg").chmod(0o600)
    arrived.wait_for(1)


def test_what_cannot_be_read_is_named_and_the_others_are_taken(folder, watch, caplog, monkeypatch):
    def refuse(path: str) -> bool:
        if path.endswith("locked.jpg"):
            raise PermissionError(13, "Permission denied")
        return False

    monkeypatch.setattr(arriving_file, "has_writer", refuse)
    for name in ("locked.jpg", "open.jpg"):
        (folder / name).write_bytes(b"1")
    arrived = watch(rescan_s=0.1)

    with caplog.at_level(logging.WARNING):
        arrived.wait_for(1)
        arrived.poll(0.5)

    assert arrived.images == [str(folder / "open.jpg")]
    assert caplog.text.count("locked.jpg': it can't be read: Permission denied.") == 1


def test_a_name_that_is_not_utf_8_has_a_key_and_a_name_that_can_be_stored(folder, watch):
    name = os.fsdecode(b"caf\xe9.jpg")
    (folder / name).write_bytes(b"1")

    (item,) = watch().wait_for(1)

    assert item.path == folder / name
    item.key.encode()
    item.image.encode()


def test_a_folder_that_is_deleted_ends_the_run_with_one_sentence(folder, watch):
    arrived = begun(watch, folder)
    shutil.rmtree(folder)

    failure = failure_of(arrived.poll)

    assert failure.code == "FEED_FAILED"
    assert "can't be read: No such file or directory" in failure.message


def test_another_folder_in_its_place_ends_the_run(folder, watch, tmp_path):
    arrived = begun(watch, folder)
    folder.rename(tmp_path / "moved")
    folder.mkdir()

    failure = failure_of(arrived.poll)

    assert failure.code == "FEED_FAILED"
    assert "is another folder now" in failure.message


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    failure = failure_of(FolderArrivals(tmp_path / "nowhere").open, frozenset)

    assert failure.code == "FEED_FAILED"
    assert "nowhere' can't be read" in failure.message
