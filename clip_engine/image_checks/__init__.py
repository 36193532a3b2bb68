"""Checks a file's structure before it is given to a decoder.

A decoder limits neither the work that a small file can cause nor all of its memory. Each check
reads headers only, in linear time, and refuses what no camera, editor or browser writes.
"""

from clip_engine.image_checks.check import check_image_file

__all__ = ["check_image_file"]
