"""`python -m worker.cli`, the same as `clip-worker`."""

from worker.cli import main

main()
