"""`clip-worker health`: one question to the metrics port, for probes."""
