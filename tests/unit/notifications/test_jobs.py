"""Jobs reach their queues from processes that are no workers."""

import json
import os
import subprocess
import sys

import redis

STARTS = """
import django
django.setup()
from celery import current_app
from notifications.outbox import enqueue_on_commit
current_app.conf.task_always_eager = False
enqueue_on_commit("notifications.tasks.route_due")
enqueue_on_commit("notifications.tasks.drain_channel", "account", "channel")
"""


def waiting(broker: redis.Redis, queue: str) -> list[tuple[str, str]]:
    """Return (task, arguments) of a queue's messages, as its workers would get them."""
    found = [json.loads(text)["headers"] for text in broker.lrange(queue, 0, -1)]
    return [(headers["task"], headers["argsrepr"]) for headers in found]


def test_processes_that_know_no_jobs_can_start_them() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "lumos.settings.test"}
    subprocess.run([sys.executable, "-c", STARTS], env=environment, check=True, timeout=100)
    broker = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    assert ("notifications.tasks.route_due", "()") in waiting(broker, "celery")
    assert ("notifications.tasks.drain_channel", "('account', 'channel')") in waiting(broker, "deliveries")
    broker.close()
