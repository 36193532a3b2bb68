"""A file system whose power can be cut: what was not written to its disk is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

SIZE_BYTES = 48 * 1024 * 1024
TOOLS = ("mkfs.ext4", "mount", "umount")


class PowerCutDisk:
    """An ext4 file system in a file, mounted while it is entered; where it can't be, tests skip.

    The file is what a disk would hold: the kernel writes to it what programs sync, and the rest
    seconds later. So a copy of the file is what a power failure leaves behind.

    Args:
        folder: For the file and the place where it is mounted.

    Attributes:
        path: The root of the file system.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "disk"
        self._cuts = 0

    def __enter__(self) -> Self:
        if sys.platform != "linux" or os.geteuid() != 0 or not all(map(shutil.which, TOOLS)):
            pytest.skip("mounts a file system: needs Linux, root and mkfs.ext4")
        with self._image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        _run("mkfs.ext4", "-q", str(self._image))
        self.path.mkdir()
        try:
            self._mount()
        except subprocess.CalledProcessError:  # in a container
            pytest.skip("mounts a file system, which is refused here")
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", str(self.path))

    def cut(self, process: subprocess.Popen[bytes]) -> None:
        """Cut the power of a stopped process, and turn it on again.

        Args:
            process: The only one that has files open here.
        """
        left = self._image.read_bytes()
        process.kill()
        process.wait()
        _run("umount", str(self.path))  # which writes the rest, to the file that is given up
        self._image.unlink()
        self._cuts += 1
        self._image.write_bytes(left)
        self._mount()

    @property
    def _image(self) -> Path:
        return self._folder / f"disk-{self._cuts}.ext4"

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
