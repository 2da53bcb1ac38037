"""The Celery application: workers and beat load it by this module."""

import os
from functools import cached_property
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")

TRANSPORT_ALIASES["filesystem"] = "keeper_project.folder_transport:Transport"


class Keeper(Celery):
    """Celery with programs whose output is a log of one kind."""

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The class of `celery worker`, loaded when it is asked for."""
        return self.subclass_with_self("keeper_project.celery_programs:Worker")  # type: ignore[arg-type]  # stubs

    @cached_property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        """The class of `celery beat`, loaded when it is asked for."""
        return self.subclass_with_self("keeper_project.celery_programs:Beat")  # type: ignore[arg-type]  # stubs


app = Keeper("keeper")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def _show_metrics(**_kwargs: Any) -> None:
    # Once Django is loaded, which the worker does after this module.
    from keeper_project.metrics import serve_metrics  # noqa: PLC0415

    serve_metrics()
