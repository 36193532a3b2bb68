"""Celery applications on a Redis."""

from __future__ import annotations

import pytest

from clip_worker.redis.celery_app import RedisCelery, redis_configuration


@pytest.fixture
def celery():
    """Makes an application with the configuration that client and worker share."""
    apps = []

    def celery(url, result_url=None):
        app = RedisCelery("test", set_as_current=False)
        app.conf.update(redis_configuration(url, result_url or url))
        apps.append(app)
        return app

    yield celery
    for app in apps:
        app.close()
