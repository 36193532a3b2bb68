"""Stores each row in a file beside its image: as JSON, or as keywords in XMP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from clip_worker.contract.results import Failure, Outcome
from clip_worker.errors import ServiceError
from clip_worker.sinks.failures import is_of_one_path, sink_failed
from clip_worker.sinks.record import Record
from clip_worker.sinks.row import Row
from clip_worker.sinks.staged_files import StagedFiles

MOST_BYTES = 16 * 1024 * 1024  # of a sidecar that exists
COMMITTED = "committed"  # a position: rows that are written again replace themselves


class Sidecar(Protocol):
    """What a sidecar is called, and what is in it."""

    def path_of(self, image: Path) -> Path:
        """Its path."""

    def content(self, row: Row, existing: bytes | None) -> bytes | None:
        """What it is to contain.

        Args:
            row: Of its image.
            existing: What it contains now; None if there is none.

        Returns:
            None to leave it as it is.

        Raises:
            ValueError: It was not made by this, and is left alone; why, to follow a colon.
        """


class JsonSidecar:
    """The record of an image as JSON, in `cat.jpg.json` beside `cat.jpg`."""

    def path_of(self, image: Path) -> Path:
        """See `Sidecar.path_of`."""
        return image.with_name(f"{image.name}.json")

    def content(self, row: Row, existing: bytes | None) -> bytes:
        """See `Sidecar.content`. A file that is not a record belongs to somebody else."""
        if existing is not None:
            try:
                Record.model_validate_json(existing)
            except ValidationError as error:
                raise ValueError("it exists and is not clip-worker's") from error
        return f"{Record.of(row).model_dump_json(exclude_none=True, indent=2)}\n".encode()


class SidecarSink:
    """Writes a file beside each local image. What is there of an earlier run is replaced.

    Where that is impossible for one image, as with a sidecar of another program, its row is
    refused: whoever may add images to a folder must not be able to stop a run.

    Args:
        sidecar: Which file.
    """

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._files = StagedFiles()

    def open(self, position: str | None) -> None:
        """See `Sink.open`."""

    def write(self, rows: Sequence[Row]) -> Sequence[Row]:
        """See `Sink.write`."""
        refused = []
        for row in rows:
            if row.item.path is None:
                raise sink_failed(
                    row.item.image,
                    "it is not a local file, so no file can be beside it",
                    "use another --to, such as results.jsonl,",
                )
            if error := self._write(self._sidecar.path_of(row.item.path), row):
                outcome = Outcome(status="error", error=Failure.of(error))
                refused.append(replace(row, outcome=outcome))
        return refused

    def commit(self) -> str:
        """See `Sink.commit`."""
        self._files.commit()
        return COMMITTED

    def close(self) -> None:
        """See `Sink.close`."""
        self._files.discard()

    def _write(self, path: Path, row: Row) -> ServiceError | None:
        try:
            content = self._sidecar.content(row, self._files.read(path, MOST_BYTES))
            if content is not None:
                self._files.write(path, content)
        except ValueError as error:
            return sink_failed(path, str(error), "move it, or use another --to,")
        except ServiceError as error:
            if not is_of_one_path(error):
                raise
            return error
        return None
