"""What an image costs the process that holds the model, before and after a change, in one run.

    python -m benchmarks.model_process                      (12 minutes)
    python -m benchmarks.model_process --quick              (one minute: shows that it works)
    python -m benchmarks.model_process --end-to-end         (real tower, idle latency, no-op tasks)
    python -m benchmarks.model_process --before COMMIT      (another commit to compare with)
    python -m benchmarks.model_process --max-batch 256      (batches as on a GPU)

Two workers run, each a real process with a `redis-server` of its own: one from `git archive` of
the commit to compare with, one from the present tree. Both get the same messages, in short rounds
that take turns; figures are medians of the rounds, and a ratio is the median of the ratios within
a round. Only the image tower is replaced: it answers at once with a constant feature, so what is
left is all the other work of an image.

How it is measured, and its bias:

- Processor time comes from /proc, by thread. It is higher on a busy machine, where programs share
  caches and the units of a core: compare within a run. Copying pixels into a batch is the tower's
  work and not included.
- Time under the GIL is sampled: about once a millisecond the benchmark reads from the worker's
  memory whether its GIL is held and by which thread. A holder that waits for a core counts as
  holding, so the figure is an upper bound, and far too high on a busy machine: "waiting for a
  core" tells how busy it was. CPython on Linux.
- The benchmark itself and Redis share the cores with the worker whose turn it is. The other one
  is idle.
"""
