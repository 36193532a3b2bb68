"""Watches the calls of a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def watched_sizes(monkeypatch: pytest.MonkeyPatch, owner: object, method: str) -> list[int]:
    """A list to which each call of the method adds the length of its first argument."""
    sizes: list[int] = []
    original = getattr(owner, method)

    def watched(first: Any, *args: Any, **options: Any) -> Any:
        sizes.append(len(first))
        return original(first, *args, **options)

    monkeypatch.setattr(owner, method, watched)
    return sizes
