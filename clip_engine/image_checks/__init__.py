"""Checks an image file's structure before it is decoded.

Decoders limit neither the time that a small file can take nor all of the memory. Each check reads
headers only, in linear time, and refuses what no camera, editor or browser writes.
"""

from clip_engine.image_checks.check import check_image_file

__all__ = ["check_image_file"]
