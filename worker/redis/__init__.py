"""Everything that talks to Redis or configures who does: URLs, connections, stores, the Celery app.

This package loads no torch: the client uses it as the worker does.
"""
