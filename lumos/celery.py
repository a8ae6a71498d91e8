"""The Celery application; the schedule is code, run once per period by beat."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lumos.settings.base")

app = Celery("lumos")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "advance-rollouts": {"task": "domains.tasks.advance_rollouts", "schedule": 5.0},
    "look-at-failovers": {"task": "domains.tasks.look_at_failovers", "schedule": 5.0, "options": {"expires": 5}},
    "sweep-failovers": {"task": "domains.tasks.sweep_failovers", "schedule": 300.0},
    "check-origins": {"task": "domains.tasks.check_origins", "schedule": 300.0},
    "check-signed-zones": {"task": "domains.tasks.check_signed_zones", "schedule": 300.0},
    "expire-idempotent-answers": {"task": "accounts.tasks.expire_old_rows", "schedule": 3600.0},
    "expire-list-entries": {"task": "waf.tasks.expire_list_entries", "schedule": 20.0},
    "fetch-due-subscriptions": {"task": "waf.tasks.fetch_due_subscriptions", "schedule": 60.0},
    "probe-servers": {"task": "servers.tasks.probe_servers", "schedule": 5.0, "options": {"expires": 5}},
    "look-at-servers": {"task": "servers.tasks.look_at_servers", "schedule": 5.0, "options": {"expires": 5}},
    "advance-upgrades": {"task": "servers.tasks.advance_upgrades", "schedule": 10.0, "options": {"expires": 10}},
    "finish-decommissions": {"task": "servers.tasks.finish_decommissions", "schedule": 60.0},
    "expire-minutes": {"task": "servers.tasks.expire_minutes", "schedule": 60.0},
    "sweep-notifications": {"task": "notifications.tasks.sweep", "schedule": 5.0, "options": {"expires": 15}},
    "watch-servers": {"task": "notifications.tasks.watch_servers", "schedule": 15.0, "options": {"expires": 30}},
    "notifications-hourly": {"task": "notifications.tasks.hourly", "schedule": 3600.0},
    "charge-cycle": {"task": "billing.tasks.charge_cycle", "schedule": 60.0},
    "watch-jobs": {"task": "lumos.tasks.watch_jobs", "schedule": 60.0},
    "roll-up-charges": {"task": "billing.tasks.roll_up_charges", "schedule": 3600.0},
    "check-ledger": {"task": "billing.tasks.check_ledger", "schedule": 86_400.0},
    "expire-metrics-and-events": {"task": "servers.tasks.expire_old_rows", "schedule": 3600.0},
}
