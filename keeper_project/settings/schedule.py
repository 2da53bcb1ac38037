"""Celery, and the schedule of its beat."""

from celery.schedules import crontab

from keeper_project.settings.installation import CELERY_BROKER_URL, KEEPER_DATA_DIR

# Without a broker, the worker of `keeper run` keeps messages in its own memory, where no other process
# reaches them: it looks for rows that are due each second instead.
KEEPER_EMBEDDED_WORKER = CELERY_BROKER_URL.startswith("memory://")
CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.2} if KEEPER_EMBEDDED_WORKER else {}
# How often due work is polled; a broker's messages announce it earlier.
_LOOK_SECONDS = 1.0 if KEEPER_EMBEDDED_WORKER else 10.0
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(KEEPER_DATA_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    "worker-heartbeat": {"task": "keeper_project.tasks.beat_heartbeat", "schedule": 30.0},
    "record-refusals": {"task": "audit_app.tasks.record_refusals", "schedule": 60.0},
    "make-checkpoint": {
        "task": "audit_app.tasks.make_checkpoint",
        "schedule": 60.0,
        "options": {"expires": 50},
    },
    "deliver-checkpoints": {
        "task": "audit_app.tasks.deliver_checkpoints",
        "schedule": 20.0,
        "options": {"expires": 18},
    },
    "prune-trail": {"task": "audit_app.tasks.prune_trail", "schedule": crontab(hour="3", minute="23")},
    "stream-events": {
        "task": "audit_app.tasks.stream_events",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "index-events": {
        "task": "audit_app.tasks.index_events",
        "schedule": 2.0,
        "options": {"expires": 2},
    },
    # A check that waited longer than this is overtaken by the next one.
    "check-keys": {
        "task": "secrets_app.tasks.check_keys",
        "schedule": 300.0,
        "options": {"expires": 240},
    },
    "watch-keys": {
        "task": "secrets_app.tasks.watch_keys",
        "schedule": 20.0,
        "options": {"expires": 18},
    },
    "check-failing-keys": {
        "task": "secrets_app.tasks.check_failing_keys",
        "schedule": 60.0,
        "options": {"expires": 50},
    },
    "check-systems": {
        "task": "keeper_project.tasks.check_systems",
        "schedule": 60.0,
        "options": {"expires": 50},
    },
    "deliver-notifications": {
        "task": "environments_app.tasks.deliver_notifications",
        "schedule": 20.0,
    },
    "sync-due": {
        "task": "sync_app.tasks.run_due",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "rotate-due": {
        "task": "sync_app.tasks.rotate_due",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "check-requested-keys": {
        "task": "secrets_app.tasks.check_requested_keys",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "run-key-jobs": {
        "task": "secrets_app.tasks.run_key_jobs",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "run-audit-jobs": {
        "task": "environments_app.tasks.run_audit_jobs",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "carry-out-backup-requests": {
        "task": "keeper_project.tasks.carry_out_backup_requests",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "run-requested-tasks": {
        "task": "keeper_project.tasks.run_requested_tasks",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "correct-due-times": {
        "task": "sync_app.tasks.correct_future_due_times",
        "schedule": crontab(minute="13"),
    },
    "back-up": {"task": "keeper_project.tasks.back_up_if_due", "schedule": crontab(minute="*/10")},
    "sweep": {"task": "secrets_app.tasks.sweep", "schedule": 60.0, "options": {"expires": 50}},
    "send-digests": {"task": "keeper_project.tasks.send_digests", "schedule": crontab(minute="37")},
    "send-report": {"task": "keeper_project.tasks.send_report", "schedule": crontab(minute="7")},
    "purge-deleted": {"task": "secrets_app.tasks.purge_deleted", "schedule": crontab(minute="41")},
    "expire-approvals": {"task": "environments_app.tasks.expire_approvals", "schedule": 300.0},
    "end-expired-access": {"task": "environments_app.tasks.end_expired_access", "schedule": 60.0},
    "end-impossible-sessions": {"task": "environments_app.tasks.end_impossible_sessions", "schedule": 60.0},
    "refresh-saml-metadata": {
        "task": "environments_app.tasks.refresh_saml_metadata",
        "schedule": crontab(minute="23"),
    },
    "watch-tokens": {
        "task": "environments_app.tasks.watch_tokens",
        "schedule": crontab(minute="11"),
    },
    "purge-workload-tokens": {
        "task": "environments_app.tasks.purge_workload_tokens",
        "schedule": crontab(minute="19"),
    },
    "purge-saml-assertions": {
        "task": "environments_app.tasks.purge_saml_assertions",
        "schedule": crontab(minute="29"),
    },
    "clear-sessions": {
        "task": "keeper_project.tasks.clear_sessions",
        "schedule": crontab(minute="17", hour="3"),
    },
}
