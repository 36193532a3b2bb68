"""Runs several workers as child processes, for `clip-worker start --workers N`."""
