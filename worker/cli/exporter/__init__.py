"""`clip-worker exporter`: what queues hold, for Prometheus and for autoscalers."""
