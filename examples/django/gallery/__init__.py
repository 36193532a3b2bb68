"""The project: settings, URLs, the Celery application."""

from gallery.celery import app as celery_app

__all__ = ["celery_app"]
