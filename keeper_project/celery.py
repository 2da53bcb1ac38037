"""The Celery application: workers and beat load it by this module."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")

TRANSPORT_ALIASES["filesystem"] = "keeper_project.folder_transport:Transport"

app = Celery("keeper")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def _show_metrics(**_kwargs: Any) -> None:
    # Once Django is loaded, which the worker does after this module.
    from keeper_project.metrics import serve_metrics  # noqa: PLC0415

    serve_metrics()
