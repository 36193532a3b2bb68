"""A worker beside a LitServe server on open_clip: images a second, processor time, idle latency.

    python -m benchmarks.served            (under four minutes)
    python -m benchmarks.served --quick    (one minute: shows that it works)

ViT-B/32 with random weights, JPEGs of 500x375 from a folder, 10 labels, the same for every image.
LitServe runs `lit_server.py`, once with the settings that give it most images a second on a
two-core machine and once with those that give it the lowest latency (`contenders.py` says how they
were found). clip-worker is `clip-worker start` with its defaults, and with each precision.

How it is measured, and its bias:

- All servers run during the whole benchmark, and one at a time is asked; rounds take turns.
- A round of clip-worker begins with all messages in the queue and ends with the last result's own
  `date_done`. A round of LitServe has 32 requests in flight until its last 32.
- LitServe gets paths, so it reads the files as clip-worker does, and has the labels from the start
  instead of with each request.
- Idle latency is from the request to the answer in the client, after a pause; the servers take
  turns image by image. LitServe's client keeps its connection.
- LitServe's servers poll their queues when idle, so they are stopped (SIGSTOP) while others are
  measured.
"""
