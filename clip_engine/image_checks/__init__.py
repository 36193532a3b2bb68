"""Checks of a file's structure, before a decoder is trusted with it.

A decoder bounds neither the work that a small file can ask of it nor all of its memory. Each check
here reads headers only, in time linear in what it reads, and refuses what no camera, editor or
browser writes.
"""

from clip_engine.image_checks.check import check_image_file

__all__ = ["check_image_file"]
