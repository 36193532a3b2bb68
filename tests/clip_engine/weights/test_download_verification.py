"""Whether a cached file is checked again, and when."""

from __future__ import annotations

import hashlib
import os

import pytest

from clip_engine.weights import checksum as verification
from clip_engine.weights.checksum import is_noted, is_verified, recomputed_digest

DATA = b"weights"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "tiny.pt"
    file.write_bytes(DATA)
    return file


@pytest.fixture
def hashed(monkeypatch):
    """The paths that were hashed."""
    paths = []
    honest = verification.sha256_of
    monkeypatch.setattr(verification, "sha256_of", lambda path: paths.append(path) or honest(path))
    return paths


def test_a_file_is_hashed_once_and_then_known_by_size_and_time(path, hashed):
    assert is_verified(path, SHA256)
    assert is_verified(path, SHA256)

    assert hashed == [path]


@pytest.mark.parametrize("change", [b"WEIGHTS", b"more weights"])
def test_a_file_that_changed_is_hashed_again(path, hashed, change):
    assert is_verified(path, SHA256)
    path.write_bytes(change)
    os.utime(path, ns=(1, 1))

    assert not is_verified(path, SHA256)
    assert len(hashed) == 2


def test_a_note_does_not_hold_for_another_digest(path):
    assert is_verified(path, SHA256)

    assert not is_verified(path, "0" * 64)


def test_a_file_that_is_not_there_is_not_verified(tmp_path):
    assert not is_verified(tmp_path / "absent.pt", SHA256)


@pytest.mark.parametrize("note", ["", "{", "[]", "null", '{"sha256": 1}', "\x00"])
def test_a_broken_note_leads_to_hashing(path, hashed, note):
    (path.parent / "tiny.pt.verified").write_text(note)

    assert is_verified(path, SHA256)
    assert hashed == [path]


def test_a_file_is_verified_where_no_note_can_be_written(path, hashed):
    # given: a folder where the note would lie
    (path.parent / "tiny.pt.verified").mkdir()

    assert is_verified(path, SHA256)
    assert is_verified(path, SHA256)
    assert len(hashed) == 2


def test_a_note_is_found_without_hashing(path, hashed):
    assert not is_noted(path, SHA256)
    assert is_verified(path, SHA256)
    hashed.clear()

    assert is_noted(path, SHA256)
    assert not is_noted(path, "0" * 64)
    assert not is_noted(path.with_name("absent.pt"), SHA256)
    assert hashed == []


def test_a_bit_that_flipped_behind_the_notes_back_is_found_by_hashing_anew(path):
    # given: a verified file whose content changes, but neither its size nor its time
    assert is_verified(path, SHA256)
    status = path.stat()
    path.write_bytes(b"weighty")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert is_verified(path, SHA256)

    assert recomputed_digest(path, SHA256) == hashlib.sha256(b"weighty").hexdigest()

    assert not is_verified(path, SHA256)


def test_hashing_anew_notes_a_whole_file(path, hashed):
    assert recomputed_digest(path, SHA256) == SHA256

    assert is_verified(path, SHA256)
    assert hashed == [path]
