"""The paths of the metrics port."""

LIVE = "/healthz"
READY = "/readyz"
METRICS = "/metrics"
