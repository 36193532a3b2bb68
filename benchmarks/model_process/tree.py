"""A source tree that a worker runs from: the present one, or a commit's."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench.server import BenchError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Tree:
    """Where a worker's code lies.

    Attributes:
        name: For tables: "before" or "after".
        root: Folder that contains `worker/` and `clip_engine/`.
    """

    name: str
    root: Path


PRESENT = Tree("after", ROOT)


@contextmanager
def exported(commit: str) -> Iterator[Tree]:
    """The tree of a commit in a temporary folder.

    Raises:
        BenchError: This is no clone of the repository, or it has no such commit.
    """
    command = ["git", "-C", str(ROOT), "archive", commit]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise BenchError(
            f"git archive {commit} failed: {done.stderr.decode().strip()}; "
            "name a commit of this clone with --before."
        )
    with TemporaryDirectory(prefix="clip-worker-before-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Tree("before", Path(folder))
