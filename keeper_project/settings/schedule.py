"""Celery, and the schedule of its beat."""

import socket
import ssl
from typing import Any

from celery.schedules import crontab

from keeper_project.settings.installation import CELERY_BROKER_URL, KEEPER_DATA_DIR

# Without a broker, the worker of `keeper run` keeps messages in its own memory, where no other process
# reaches them: it looks for rows that are due each second instead.
KEEPER_EMBEDDED_WORKER = CELERY_BROKER_URL.startswith("memory://")
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
if KEEPER_EMBEDDED_WORKER:
    CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.2}
elif CELERY_BROKER_URL.startswith("redis"):
    # For messages a worker waits by its event loop, and by these for all else. The kernel notices a machine
    # that is gone without a word.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_connect_timeout": 2.0,
        "socket_timeout": 2.0,
        "socket_keepalive": True,
        "socket_keepalive_options": {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3},
    }
# Kombu alone verifies no certificate; `ssl_` options of the URL win over this.
CELERY_BROKER_USE_SSL = (
    {"ssl_cert_reqs": ssl.CERT_REQUIRED} if CELERY_BROKER_URL.startswith("rediss://") else False
)
# How often due work is polled; a broker's messages announce it earlier.
_LOOK_SECONDS = 1.0 if KEEPER_EMBEDDED_WORKER else 10.0
# `core.workers` counts the work of one process.
CELERY_WORKER_POOL = "threads"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A broker may be away for a night.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Who writes to the broker could stop workers by it, and nothing of Keeper's asks them anything.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "keeper_project.runtime.worker.celery_programs:Schedule"
CELERY_BEAT_SCHEDULE_FILENAME = str(KEEPER_DATA_DIR / "celerybeat-schedule")


def _entry(task: str, schedule: float | crontab, *, expires: int | None = None) -> dict[str, Any]:
    """Return an entry of beat; what waited for `expires` seconds is left out."""
    return {"task": task, "schedule": schedule, **({"options": {"expires": expires}} if expires else {})}


CELERY_BEAT_SCHEDULE = {
    "worker-heartbeat": _entry("keeper_project.tasks.beat_heartbeat", 30.0),
    "record-refusals": _entry("audit_app.tasks.record_refusals", 60.0),
    "make-checkpoint": _entry("audit_app.tasks.make_checkpoint", 60.0, expires=50),
    "deliver-checkpoints": _entry("audit_app.tasks.deliver_checkpoints", 20.0, expires=18),
    "prune-trail": _entry("audit_app.tasks.prune_trail", crontab(hour="3", minute="23")),
    "stream-events": _entry("audit_app.tasks.stream_events", 5.0, expires=5),
    "index-events": _entry("audit_app.tasks.index_events", 2.0, expires=2),
    "queue-changes": _entry("secrets_app.tasks.queue_changes", 5.0, expires=5),
    # A check that waited longer than this is overtaken by the next one.
    "check-keys": _entry("secrets_app.tasks.check_keys", 300.0, expires=240),
    "watch-keys": _entry("secrets_app.tasks.watch_keys", 20.0, expires=18),
    "check-failing-keys": _entry("secrets_app.tasks.check_failing_keys", 60.0, expires=50),
    "check-systems": _entry("keeper_project.tasks.check_systems", 60.0, expires=50),
    "deliver-notifications": _entry("environments_app.tasks.deliver_notifications", 5.0, expires=5),
    "migrate-due": _entry("sync_app.tasks.migrate_due", _LOOK_SECONDS, expires=30),
    "sync-due": _entry("sync_app.tasks.run_due", _LOOK_SECONDS, expires=30),
    "rotate-due": _entry("sync_app.tasks.rotate_due", _LOOK_SECONDS, expires=30),
    "check-requested-keys": _entry("secrets_app.tasks.check_requested_keys", _LOOK_SECONDS, expires=30),
    "send-share-codes": _entry("secrets_app.tasks.send_share_codes", _LOOK_SECONDS, expires=30),
    "follow-departures": _entry("secrets_app.tasks.follow_departures", 20.0, expires=18),
    "run-key-jobs": _entry("secrets_app.tasks.run_key_jobs", _LOOK_SECONDS, expires=30),
    "run-audit-jobs": _entry("environments_app.tasks.run_audit_jobs", _LOOK_SECONDS, expires=30),
    "carry-out-backup-requests": _entry(
        "keeper_project.tasks.carry_out_backup_requests", _LOOK_SECONDS, expires=30
    ),
    "run-requested-tasks": _entry("keeper_project.tasks.run_requested_tasks", _LOOK_SECONDS, expires=30),
    "correct-due-times": _entry("sync_app.tasks.correct_future_due_times", crontab(minute="13")),
    "back-up": _entry("keeper_project.tasks.back_up_if_due", crontab(minute="*/10")),
    "sweep": _entry("secrets_app.tasks.sweep", 60.0, expires=50),
    "send-digests": _entry("keeper_project.tasks.send_digests", crontab(minute="37")),
    "send-report": _entry("keeper_project.tasks.send_report", crontab(minute="7")),
    "delete-ended-versions": _entry("secrets_app.tasks.delete_ended_versions", 20.0, expires=18),
    "purge-deleted": _entry("secrets_app.tasks.purge_deleted", crontab(minute="41")),
    "purge-environments": _entry(
        "environments_app.tasks.purge_environments", crontab(minute="*/5"), expires=240
    ),
    "expire-approvals": _entry("environments_app.tasks.expire_approvals", 300.0),
    "remind-reviewers": _entry(
        "environments_app.tasks.remind_reviewers", crontab(minute="*/10"), expires=500
    ),
    "end-expired-access": _entry("environments_app.tasks.end_expired_access", 60.0),
    "end-impossible-sessions": _entry("environments_app.tasks.end_impossible_sessions", 60.0),
    "refresh-oidc-providers": _entry("environments_app.tasks.refresh_oidc_providers", crontab(minute="27")),
    "refresh-saml-metadata": _entry("environments_app.tasks.refresh_saml_metadata", crontab(minute="23")),
    "watch-tokens": _entry("environments_app.tasks.watch_tokens", crontab(minute="11")),
    "purge-workload-tokens": _entry("environments_app.tasks.purge_workload_tokens", crontab(minute="19")),
    "purge-saml-assertions": _entry("environments_app.tasks.purge_saml_assertions", crontab(minute="29")),
    "clear-sessions": _entry("keeper_project.tasks.clear_sessions", crontab(minute="17", hour="3")),
}
