"""What the system reports of a folder, by itself."""

from __future__ import annotations

import os
from pathlib import Path

from support.waiting import wait_until

from clip_worker.feeds.folder_events import FolderEvents


def test_files_are_reported_after_one_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    # given
    events = FolderEvents(str(tmp_path))
    events.start()
    try:
        wait_until(events.take_incomplete)
        # when
        (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"1")
        # then it asks for a scan, and for another one when events are reported again
        wait_until(events.take_incomplete)
        wait_until(events.take_incomplete)
        (tmp_path / "new.jpg").write_bytes(b"1")
        wait_until(lambda: str(tmp_path / "new.jpg") in events.take(0.1, 10))
    finally:
        events.stop()
