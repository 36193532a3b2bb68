"""An operator's hour on real processes, compressed to minutes, and what each tool said.

.venv/bin/python -m benchmarks.operators_hour [--workers 4] [--page docs/operators-hour.md]

Under load, workers are added, change their model, and are killed; Redis is filled, stopped, and
gets another password. After each step it notes what `clip-worker status`, `clip-worker health`,
`/metrics` and the workers' logs say. In the end it accounts for every task.
"""
