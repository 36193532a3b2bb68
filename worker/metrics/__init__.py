"""What a worker counts, and how Prometheus sees it; knows no images, no models and no messages."""
