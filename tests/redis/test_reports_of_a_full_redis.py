"""A worker reports although the memory of Redis is full: else it would be taken for a dead one."""

from __future__ import annotations

import pytest
from redis.exceptions import OutOfMemoryError
from support.status_snapshots import report

from clip_worker.redis.worker_reports import WorkerReports


@pytest.mark.integration
def test_a_worker_reports_although_redis_accepts_no_messages(server):
    with server.client() as redis:
        # given
        redis.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            redis.lpush("clip", "m")
        # when
        reports = WorkerReports(redis, "clip")
        reports.put(report())
        # then
        assert [each.worker for each in reports.all()] == ["clip-1@host"]
