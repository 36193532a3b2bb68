"""The torture run: real workers, real Redis, real kills; at the end every task is accounted for.

`make torture` runs it (`python -m torture` with `tests` on the path); docs/reliability.md tells
what it showed. One noun a file:

- `mark`, `workload`, `picture_server`: tasks whose right answers are known beforehand
- `poisoned_app`, `journal`: the product's worker, which also writes down what it does
- `zygote`, `spawner`, `supervisor`: worker processes that are started again when they end
- `proxy`, `chaos`: what goes wrong
- `monitor`, `accounting`, `verdict`: what came of it; `run`, `__main__`: all of it together
- `drills`, `stock_app`, `batches_app`: single faults, many times, ours beside others
"""
