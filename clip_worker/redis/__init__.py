"""Redis: URLs, connections, stores, and the Celery application on top of them.

This package loads no torch: the client uses it as the worker does.
"""
