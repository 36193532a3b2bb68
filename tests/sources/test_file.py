"""Pictures in the worker's file system."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from worker.errors import ClipWorkerError, ImageUnavailableError, TemporaryError
from worker.sources import Fetcher, FetchLimits, FetchPolicy


@pytest.fixture
def root(tmp_path):
    """A root with a picture and a folder, beside a secret that is outside."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "cat.jpg").write_bytes(b"cat")
    (folder / "sub" / "dog.jpg").write_bytes(b"dog")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return folder


def fetcher(*roots: Path, max_bytes=1000):
    return Fetcher(FetchPolicy(file_roots=roots), FetchLimits(max_bytes=max_bytes))


def failure_of(root, uri):
    with pytest.raises(ClipWorkerError) as caught:
        fetcher(root).fetch(uri)
    return caught.value


def test_a_file_below_a_root_is_read(root):
    assert fetcher(root).fetch(f"file://{root}/cat.jpg") == b"cat"
    assert fetcher(root).fetch(f"file://localhost{root}/sub/dog.jpg") == b"dog"
    assert fetcher(root / "sub", root).fetch(f"file:{root}/sub/../cat.jpg") == b"cat"


@pytest.mark.parametrize("name", [b"my cat.jpg", "caf\u00e9?#%.jpg".encode(), b"latin-\xe9.jpg"])
def test_a_percent_encoded_name_is_read(root, name):
    (root / os.fsdecode(name)).write_bytes(b"cat")

    escaped = "".join(f"%{byte:02X}" for byte in name)

    assert fetcher(root).fetch(f"file://{root}/{escaped}") == b"cat"


def test_without_roots_no_file_is_read_and_the_setting_is_named(root):
    with pytest.raises(ImageUnavailableError, match="CLIP_WORKER_FILE_ROOTS") as caught:
        Fetcher().fetch(f"file://{root}/cat.jpg")

    assert caught.value.code == "FILE_OUTSIDE_ROOTS"


def test_whether_a_file_outside_exists_is_not_revealed(root, monkeypatch):
    # given: a disk that tells of every touch
    outside = root.parent / "outside"
    paths = [f"{outside}/secret", f"{outside}/absent", f"{outside}", f"{outside}/absent/../secret"]
    paths += [f"{root}/../outside/secret", f"{root}/%2e%2e/outside/absent", f"{root}2/cat.jpg", "/"]
    touched = []
    monkeypatch.setattr(os, "open", lambda path, *_args, **_options: touched.append(path))
    monkeypatch.setattr(os.path, "realpath", touched.append)

    failures = [failure_of(root, f"file://{path}") for path in paths]

    assert {failure.code for failure in failures} == {"FILE_OUTSIDE_ROOTS"}
    assert touched == []


def test_a_symbolic_link_within_the_roots_is_followed(root):
    (root / "link.jpg").symlink_to("sub/dog.jpg")
    (root / "folder").symlink_to(root / "sub")

    assert fetcher(root).fetch(f"file://{root}/link.jpg") == b"dog"
    assert fetcher(root).fetch(f"file://{root}/folder/dog.jpg") == b"dog"


def test_a_symbolic_link_may_lead_from_one_root_to_another(root):
    other = root.parent / "outside"
    (root / "link").symlink_to(other / "secret")

    assert fetcher(root, other).fetch(f"file://{root}/link") == b"secret"


def test_a_root_that_is_a_symbolic_link_is_a_root(root):
    alias = root.parent / "alias"
    alias.symlink_to(root)

    assert fetcher(alias).fetch(f"file://{alias}/sub/dog.jpg") == b"dog"


@pytest.mark.parametrize("target", ["outside/secret", "outside/absent", "outside"])
def test_a_symbolic_link_that_leads_outside_is_refused(root, target):
    (root / "link").symlink_to(root.parent / target)

    assert failure_of(root, f"file://{root}/link").code == "FILE_OUTSIDE_ROOTS"
    assert failure_of(root, f"file://{root}/link/secret").code == "FILE_OUTSIDE_ROOTS"


@pytest.mark.parametrize("swapped", ["sub", "sub/dog.jpg"])
def test_a_link_swapped_in_after_the_check_is_not_followed(root, monkeypatch, swapped):
    # given: a path with a link, and an attacker who puts another in place right after the path
    # was resolved
    (root / "link").symlink_to("sub")
    (root.parent / "outside" / "dog.jpg").write_bytes(b"secret")
    honest = os.path.realpath

    def realpath(path):
        resolved = honest(path)
        victim = root / swapped
        if not victim.is_symlink():
            victim.rename(root / "moved")
            victim.symlink_to(root.parent / "outside" / ("" if swapped == "sub" else "dog.jpg"))
        return resolved

    monkeypatch.setattr(os.path, "realpath", realpath)

    assert isinstance(failure_of(root, f"file://{root}/link/dog.jpg"), ImageUnavailableError)


@pytest.mark.parametrize("swapped", ["sub", "sub/dog.jpg"])
def test_a_link_swapped_in_while_folders_are_opened_is_not_followed(root, monkeypatch, swapped):
    # given: an attacker who puts a link in place once the root is open
    (root.parent / "outside" / "dog.jpg").write_bytes(b"secret")
    honest = os.open

    def swapping(path, flags, dir_fd=None):
        descriptor = honest(path, flags, dir_fd=dir_fd)
        victim = root / swapped
        if not victim.is_symlink():
            victim.rename(root / "moved")
            victim.symlink_to(root.parent / "outside" / ("" if swapped == "sub" else "dog.jpg"))
        return descriptor

    monkeypatch.setattr(os, "open", swapping)

    assert failure_of(root, f"file://{root}/sub/dog.jpg").code == "FILE_OUTSIDE_ROOTS"


def test_a_path_without_links_is_not_resolved(root, monkeypatch):
    monkeypatch.setattr(os.path, "realpath", lambda path: pytest.fail(f"{path} was resolved"))

    assert fetcher(root).fetch(f"file://{root}/sub/dog.jpg") == b"dog"


@pytest.mark.parametrize("path", ["absent.jpg", "cat.jpg/x", "absent/x", "a" * 300])
def test_a_missing_file_below_a_root_is_not_found(root, path):
    failure = failure_of(root, f"file://{root}/{path}")

    assert type(failure) is ImageUnavailableError
    assert failure.code == "FILE_NOT_FOUND"


def test_a_fifo_is_refused_without_waiting_for_a_writer(root):
    os.mkfifo(root / "pipe")

    assert failure_of(root, f"file://{root}/pipe").code == "FILE_NOT_REGULAR"


def test_a_socket_is_refused(root, monkeypatch):
    monkeypatch.chdir(root)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")

        assert failure_of(root, f"file://{root}/socket").code == "FILE_NOT_REGULAR"


@pytest.mark.parametrize("path", ["", "/", "/sub", "/sub/."])
def test_a_folder_is_refused(root, path):
    assert failure_of(root, f"file://{root}{path}").code == "FILE_NOT_REGULAR"


def test_a_device_is_refused():
    assert failure_of(Path("/dev"), "file:///dev/zero").code == "FILE_NOT_REGULAR"


def test_the_cap_holds_for_files(root):
    (root / "full").write_bytes(bytes(1000))
    (root / "over").write_bytes(bytes(1001))

    assert len(fetcher(root).fetch(f"file://{root}/full")) == 1000
    assert failure_of(root, f"file://{root}/over").code == "FETCH_TOO_LARGE"


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
def test_what_the_system_raises_is_translated(root, monkeypatch, number, error, code):
    lower = OSError(number, os.strerror(number))

    def broken(*_args: object, **_options: object):
        raise lower

    monkeypatch.setattr(os, "open", broken)

    failure = failure_of(root, f"file://{root}/cat.jpg")

    assert type(failure) is error
    assert failure.code == code
    assert failure.__cause__ is lower


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc counts open files")
def test_refusals_leave_no_file_open(root):
    before = len(list(Path("/proc/self/fd").iterdir()))

    for path in ("/sub", "", "/absent", "/sub/absent", "/cat.jpg/x"):
        failure_of(root, f"file://{root}{path}")

    assert len(list(Path("/proc/self/fd").iterdir())) == before
