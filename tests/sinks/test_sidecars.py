from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sink_rows import failed_row, row

from clip_worker.errors import ServiceError
from clip_worker.sinks import staged_files
from clip_worker.sinks.open import open_sink
from clip_worker.sinks.row import Row
from clip_worker.sinks.sidecars import JsonSidecar, SidecarSink

NAME = "photo-000001.jpg.json"


def stored(folder: Path, name: str = NAME) -> dict[str, object]:
    found = json.loads((folder / name).read_text())
    assert isinstance(found, dict)
    return found


def begun() -> SidecarSink:
    sink = SidecarSink(JsonSidecar())
    sink.open(None)
    return sink


def refusal(given: Row) -> str:
    """Why a row is not stored."""
    [refused] = begun().write([given])
    assert refused.outcome.error is not None
    assert refused.outcome.error.code == "SINK_FAILED"
    return refused.outcome.error.message


def test_each_image_has_its_record_beside_it(tmp_path: Path) -> None:
    sink = begun()
    sink.write([row(1, folder=tmp_path), failed_row(2, folder=tmp_path)])
    assert not (tmp_path / NAME).exists()
    sink.commit()
    sink.close()

    assert stored(tmp_path)["label"] == "cat"
    assert stored(tmp_path, "photo-000002.jpg.json")["status"] == "error"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    sink = begun()
    sink.write([row(1, folder=tmp_path)])
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_later_result_replaces_the_record_and_keeps_its_permissions(tmp_path: Path) -> None:
    for label in ("cat", "bird"):
        sink = begun()
        sink.write([row(1, folder=tmp_path, label="horse"), row(1, folder=tmp_path, label=label)])
        sink.commit()
        sink.close()
        (tmp_path / NAME).chmod(0o600)
    sink = begun()
    sink.write([row(1, folder=tmp_path, label="fish")])
    sink.commit()

    assert stored(tmp_path)["label"] == "fish"
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{}", '{"photoTakenTime": {"timestamp": "1"}}', "[1]"])
def test_the_sidecar_of_another_program_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    assert "exists and is not clip-worker's; move it" in refusal(row(1, folder=tmp_path))
    assert (tmp_path / NAME).read_text() == content


def test_a_row_that_is_refused_does_not_keep_others_from_being_stored(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("mine")
    sink = begun()
    rows = [row(1, folder=tmp_path), row(2, folder=tmp_path)]
    [refused] = sink.write(rows)
    sink.commit()
    assert refused.item == rows[0].item
    assert stored(tmp_path, "photo-000002.jpg.json")["status"] == "ok"


def test_a_folder_that_is_removed_before_the_commit_does_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    sink = begun()
    sink.write([row(1, folder=tmp_path / "gone"), row(2, folder=tmp_path)])
    shutil.rmtree(tmp_path / "gone")
    sink.commit()
    assert stored(tmp_path, "photo-000002.jpg.json")["status"] == "ok"


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staged_files, "write_all", fail)
    with pytest.raises(ServiceError, match="the disk is full"):
        begun().write([row(1, folder=tmp_path)])


def test_links_are_neither_followed_nor_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / f".{NAME}.new").symlink_to(target)
    sink = begun()
    sink.write([row(1, folder=tmp_path)])
    sink.commit()
    assert target.read_text() == "mine"

    (tmp_path / NAME).unlink()
    (tmp_path / NAME).symlink_to(target)
    assert "symbolic link" in refusal(row(1, folder=tmp_path))
    assert target.read_text() == "mine"


def test_a_pipe_in_the_way_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    assert refusal(row(1, folder=tmp_path))


def test_an_image_that_is_no_local_file_is_one_sentence() -> None:
    with pytest.raises(ServiceError, match="is not a local file, so no file can be beside it"):
        begun().write([row(1)])


def test_a_folder_that_is_gone_and_a_name_that_is_too_long_are_one_sentence(
    tmp_path: Path,
) -> None:
    assert "does not exist" in refusal(row(1, folder=tmp_path / "gone"))
    given = row(1, folder=tmp_path)
    item = type(given.item)(key="k", image="i", path=tmp_path / ("x" * 252))
    assert "name is too long" in refusal(type(given)(item, given.outcome))


def test_a_huge_sidecar_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    assert "it is larger than 16777216 bytes" in refusal(row(1, folder=tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sidecars:json", "sidecars:xmp"])
def test_each_image_has_one_sidecar_after_fifty_kills(
    tmp_path: Path, killed_runs: Callable[..., int], target: str
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    total = killed_runs(target, folder=str(folder), preload=["lxml.etree"])

    suffix = "jpg.json" if target.endswith("json") else "xmp"
    expected = [f"photo-{number:06}.{suffix}" for number in range(total)]
    assert sorted(path.name for path in folder.iterdir()) == expected
    for name in expected:
        assert (folder / name).read_text().count(">cat<" if suffix == "xmp" else '"cat"') >= 1


def test_the_targets_are_known() -> None:
    assert isinstance(open_sink("sidecars:json"), SidecarSink)
    assert isinstance(open_sink("sidecars:xmp"), SidecarSink)
