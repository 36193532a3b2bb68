"""Images in the worker's file system."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from support.failure import code_of, failure_of

from clip_worker.errors import ImageUnavailableError, TemporaryError
from worker.sources import Fetcher, FetchLimits, FetchPolicy


@pytest.fixture
def root(tmp_path):
    """A root with an image and a folder, beside a secret that is outside."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "cat.jpg").write_bytes(b"cat")
    (folder / "sub" / "dog.jpg").write_bytes(b"dog")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (tmp_path / "outside" / "dog.jpg").write_bytes(b"secret")
    return folder


def fetch(path, *roots: Path):
    policy = FetchPolicy(file_roots=roots)
    return Fetcher(policy, FetchLimits(max_bytes=1000)).fetch(f"file://{path}")


def test_a_file_below_a_root_is_read(root):
    assert fetch(root / "cat.jpg", root) == b"cat"
    assert fetch(f"localhost{root}/sub/dog.jpg", root) == b"dog"
    assert fetch(f"{root}/sub/../cat.jpg", root / "sub", root) == b"cat"


@pytest.mark.parametrize("name", [b"my cat.jpg", "caf\u00e9?#%.jpg".encode(), b"latin-\xe9.jpg"])
def test_a_percent_encoded_name_is_read(root, name):
    (root / os.fsdecode(name)).write_bytes(b"cat")

    escaped = "".join(f"%{byte:02X}" for byte in name)

    assert fetch(f"{root}/{escaped}", root) == b"cat"


def test_without_roots_no_file_is_read_and_the_setting_is_named(root):
    failure = failure_of(fetch, root / "cat.jpg")

    assert failure.code == "FILE_OUTSIDE_ROOTS"
    assert "CLIP_WORKER_FILE_ROOTS" in failure.message


def test_whether_a_file_outside_exists_is_not_revealed(root, monkeypatch):
    # given: a disk that records every access
    outside = root.parent / "outside"
    paths = [f"{outside}/secret", f"{outside}/absent", f"{outside}", f"{outside}/absent/../secret"]
    paths += [f"{root}/../outside/secret", f"{root}/%2e%2e/outside/absent", f"{root}2/cat.jpg", "/"]
    accessed = []
    monkeypatch.setattr(os, "open", lambda path, *_args, **_options: accessed.append(path))
    monkeypatch.setattr(os.path, "realpath", accessed.append)

    assert {code_of(fetch, path, root) for path in paths} == {"FILE_OUTSIDE_ROOTS"}
    assert accessed == []


# --- symbolic links ---


def test_a_symbolic_link_within_the_roots_is_followed(root):
    other = root.parent / "outside"
    (root / "link.jpg").symlink_to("sub/dog.jpg")
    (root / "folder").symlink_to(root / "sub")
    (root / "to-other").symlink_to(other / "secret")
    (root.parent / "alias").symlink_to(root)

    assert fetch(root / "link.jpg", root) == b"dog"
    assert fetch(root / "folder" / "dog.jpg", root) == b"dog"
    assert fetch(root / "to-other", root, other) == b"secret"
    assert fetch(root.parent / "alias" / "cat.jpg", root.parent / "alias") == b"cat"


@pytest.mark.parametrize("target", ["outside/secret", "outside/absent", "outside"])
def test_a_symbolic_link_that_leads_outside_is_refused(root, target):
    (root / "link").symlink_to(root.parent / target)

    for path in (root / "link", root / "link" / "secret"):
        assert code_of(fetch, path, root) == "FILE_OUTSIDE_ROOTS"


def swap(root, swapped):
    """Replace a path below the root by a link that leads outside, as an attacker would."""
    victim = root / swapped
    if not victim.is_symlink():
        victim.rename(root / "moved")
        victim.symlink_to(root.parent / "outside" / ("" if swapped == "sub" else "dog.jpg"))


@pytest.mark.parametrize("swapped", ["sub", "sub/dog.jpg"])
def test_a_link_that_is_swapped_in_after_the_check_is_not_followed(root, monkeypatch, swapped):
    # given: a path with a link, and an attacker who swaps right after it was resolved
    (root / "link").symlink_to("sub")
    realpath = os.path.realpath

    def swapping(path):
        resolved = realpath(path)
        swap(root, swapped)
        return resolved

    monkeypatch.setattr(os.path, "realpath", swapping)

    assert isinstance(failure_of(fetch, root / "link" / "dog.jpg", root), ImageUnavailableError)


@pytest.mark.parametrize("swapped", ["sub", "sub/dog.jpg"])
def test_a_link_that_is_swapped_in_while_folders_are_opened_is_not_followed(
    root, monkeypatch, swapped
):
    # given: an attacker who swaps once the root is open
    open_ = os.open

    def swapping(path, flags, dir_fd=None):
        descriptor = open_(path, flags, dir_fd=dir_fd)
        swap(root, swapped)
        return descriptor

    monkeypatch.setattr(os, "open", swapping)

    assert code_of(fetch, root / "sub" / "dog.jpg", root) == "FILE_OUTSIDE_ROOTS"


def test_a_path_without_links_is_not_resolved(root, monkeypatch):
    monkeypatch.setattr(os.path, "realpath", lambda path: pytest.fail(f"{path} was resolved"))

    assert fetch(root / "sub" / "dog.jpg", root) == b"dog"


# --- what is not an image file ---


@pytest.mark.parametrize("path", ["absent.jpg", "cat.jpg/x", "absent/x", "a" * 300])
def test_a_missing_file_below_a_root_is_not_found(root, path):
    failure = failure_of(fetch, root / path, root)

    assert (type(failure), failure.code) == (ImageUnavailableError, "FILE_NOT_FOUND")


def test_a_folder_a_fifo_a_socket_and_a_device_are_refused(root, monkeypatch):
    os.mkfifo(root / "pipe")  # and the read does not wait for a writer
    monkeypatch.chdir(root)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for path in (root, f"{root}/", root / "sub", f"{root}/sub/.", root / "pipe",
                     root / "socket", "/dev/zero"):  # fmt: skip
            assert code_of(fetch, path, root, Path("/dev")) == "FILE_NOT_REGULAR", path


def test_the_size_limit_holds_for_files(root):
    (root / "full").write_bytes(bytes(1000))
    (root / "over").write_bytes(bytes(1001))

    assert len(fetch(root / "full", root)) == 1000
    assert code_of(fetch, root / "over", root) == "FETCH_TOO_LARGE"


@pytest.mark.parametrize(
    ("number", "error", "code"),
    [
        (errno.ENOENT, ImageUnavailableError, "FILE_NOT_FOUND"),
        (errno.ENOTDIR, ImageUnavailableError, "FILE_NOT_FOUND"),
        (errno.EACCES, ImageUnavailableError, "FILE_NOT_READABLE"),
        (errno.EPERM, ImageUnavailableError, "FILE_NOT_READABLE"),
        (errno.ELOOP, ImageUnavailableError, "FILE_OUTSIDE_ROOTS"),
        (errno.ENXIO, ImageUnavailableError, "FILE_NOT_REGULAR"),
        (errno.EIO, TemporaryError, "FILE_IO"),
        (errno.ESTALE, TemporaryError, "FILE_IO"),
        (errno.EMFILE, TemporaryError, "FILE_IO"),
    ],
)
def test_errors_of_the_system_are_translated(root, monkeypatch, number, error, code):
    lower = OSError(number, os.strerror(number))

    def broken(*_args: object, **_options: object):
        raise lower

    monkeypatch.setattr(os, "open", broken)

    failure = failure_of(fetch, root / "cat.jpg", root)

    assert (type(failure), failure.code, failure.__cause__) == (error, code, lower)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc counts open files")
def test_failures_leave_no_file_open(root):
    before = len(list(Path("/proc/self/fd").iterdir()))

    for path in ("/sub", "", "/absent", "/sub/absent", "/cat.jpg/x"):
        failure_of(fetch, f"{root}{path}", root)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
