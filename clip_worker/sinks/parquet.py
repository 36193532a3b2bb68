"""Stores rows in a folder of Parquet files, which is one data set."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from clip_worker.errors import ServiceError
from clip_worker.sinks.durable import sync_folder
from clip_worker.sinks.failures import sink_failed, translated_os_errors
from clip_worker.sinks.jsonl import JsonlSink
from clip_worker.sinks.parquet_part import cut_part, write_part
from clip_worker.sinks.record import record_json
from clip_worker.sinks.row import Row

PART_BYTES = 64 * 1024 * 1024  # of the rows as JSON: some 90,000, or 6,000 with embeddings
PART_S = 300.0  # so that a run with few pictures is seen, too


class ParquetSink:
    """Collects rows as JSON lines, and makes a part file of them when they are many or old.

    A Parquet file can't be appended to, and can't be read before it is complete. So each commit
    makes lines durable, in a file whose name begins with `_`, which readers ignore. The part file
    is written when the lines reach `part_bytes`, when the oldest is `part_s` old at a commit, and
    when the run ends.

    A position is `<run>/<part>/<rows>/<position of the lines>`. If the part's lines are gone, the
    part file has been written, and is cut to those rows.

    Args:
        folder: The folder. It is made if it does not exist, and must be empty for a new run.
        part_bytes: Size of the JSON lines of a part.
        part_s: Seconds after which the lines become a part.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        part_bytes: int = PART_BYTES,
        part_s: float = PART_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._part_s = part_s
        self._clock = clock
        self._run = ""
        self._part = 1
        self._rows = 0  # of the part
        self._lines: JsonlSink | None = None  # of the part, if it has rows
        self._committed = ""
        self._began = 0.0

    def open(self, position: str | None) -> None:
        """See `Sink.open`."""
        with translated_os_errors(self._folder):
            if position is None:
                self._begin()
            else:
                self._continue(position)

    def write(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See `Sink.write`."""
        self.write_lines([record_json(row) for row in rows])
        return ()

    def write_lines(self, lines: Sequence[str]) -> None:
        """See `LineSink.write_lines`."""
        if self._lines is None:
            file = JsonlSink(self._lines_path)
            file.open(None)
            self._lines, self._began = file, self._clock()
        self._committed = ""
        self._lines.write_lines(lines)
        self._rows += len(lines)

    def commit(self) -> str:
        """See `Sink.commit`."""
        committed = self._lines.commit() if self._lines else ""
        self._committed = f"{self._run}/{self._part}/{self._rows}/{committed}"
        position = self._committed
        if self._lines and self._is_due():
            self._publish()
        return position

    def close(self) -> None:
        """Make a part of the lines, if all of them are committed. See `Sink.close`."""
        try:
            if self._lines and self._committed:
                self._publish()
        finally:
            if self._lines:
                self._lines.close()
                self._lines = None

    def _begin(self) -> None:
        if self._folder.exists() and not self._folder.is_dir():
            raise sink_failed(self._folder, "it is a file and not a folder", "name a folder")
        self._folder.mkdir(exist_ok=True)
        sync_folder(self._folder.parent)
        if found := next(self._folder.iterdir(), None):
            raise sink_failed(
                found,
                "the folder has files that are not of this run",
                "name another folder, or empty it,",
            )
        self._run = secrets.token_hex(4)

    def _continue(self, position: str) -> None:
        self._committed = position
        self._run, part, rows, committed = position.split("/")
        self._part, self._rows = int(part), int(rows)
        self._remove_later_files()
        if self._lines_path.exists():
            self._continue_lines(committed)
        elif self._rows or self._part_path.exists():
            self._continue_part()

    def _continue_lines(self, committed: str) -> None:
        self._part_path.unlink(missing_ok=True)
        if not committed:
            self._lines_path.unlink()
            return
        lines = JsonlSink(self._lines_path)
        lines.open(committed)
        self._lines, self._began = lines, self._clock()

    def _continue_part(self) -> None:
        if not (self._part_path.exists() and cut_part(self._part_path, self._rows)):
            raise self._changed()
        if self._rows:
            self._next_part()

    def _remove_later_files(self) -> None:
        """Remove what was written after the position, and is written again."""
        for path in self._folder.glob(f"*part-{self._run}-*"):
            if int(path.name.split("-")[2].partition(".")[0]) > self._part:
                path.unlink()

    def _is_due(self) -> bool:
        is_old = self._clock() - self._began >= self._part_s
        return is_old or self._lines_path.stat().st_size >= self._part_bytes

    def _publish(self) -> None:
        """Make the part file of the lines, and remove these."""
        assert self._lines is not None
        with translated_os_errors(self._part_path):
            write_part(self._lines_path, self._part_path)
            self._lines_path.unlink()
        self._lines.close()
        self._lines = None
        self._next_part()

    def _next_part(self) -> None:
        self._part += 1
        self._rows = 0

    @property
    def _part_path(self) -> Path:
        return self._folder / f"part-{self._run}-{self._part:06}.parquet"

    @property
    def _lines_path(self) -> Path:
        return self._folder / f"_part-{self._run}-{self._part:06}.jsonl"

    def _changed(self) -> ServiceError:
        return sink_failed(
            self._part_path,
            "it was changed or removed since the run's last commit",
            "restore it, or start a new run with another folder and journal,",
        )
