"""The Celery application: workers and beat load it by this module."""

import importlib
import os
from functools import cached_property
from typing import Any

from celery import Celery, Task
from celery.signals import worker_init, worker_ready
from kombu.transport import TRANSPORT_ALIASES

from core.errors import KeeperError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")

TRANSPORT_ALIASES.update(
    dict.fromkeys(("redis", "rediss"), "keeper_project.runtime.worker.redis_transport:Transport")
)


class TaskEnded(KeeperError):
    """A task asked for the end of its process, which does the work of others as well."""


class ContainedTask(Task[Any, Any]):
    """A task that can fail and never end its worker.

    A thread of Celery's pool that ends by SystemExit neither acknowledges its message nor gives its place
    back: after some of them the worker takes no task any more.
    """

    abstract = True

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run, note how a run in a worker ends, and fail where the code asks for the end of the process.

        A worker that has no memory left fails each task, and does not end: it is ended here.
        """
        if self.request.called_directly:
            return self._contained(*arguments, **options)
        # Needs Django's models, which this module is loaded before.
        from operations_app.system.schedules import noted  # noqa: PLC0415

        with noted(self.name):
            return self._contained(*arguments, **options)

    def _contained(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().__call__(*arguments, **options)
        except MemoryError:
            if not self.request.called_directly:
                # A worker has loaded it, below. The web server needs nothing of Celery's worker.
                from keeper_project.runtime.worker.celery_programs import end_worker  # noqa: PLC0415

                end_worker()
            raise
        except (SystemExit, KeyboardInterrupt) as end:
            raise TaskEnded(f"a task raised {type(end).__name__}") from end


class Keeper(Celery):
    """Celery with programs whose output is a log of one kind."""

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The class of `celery worker`, loaded when it is asked for."""
        return self.subclass_with_self("keeper_project.runtime.worker.celery_programs:Worker")  # type: ignore[arg-type]  # stubs

    @cached_property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        """The class of `celery beat`, loaded when it is asked for."""
        return self.subclass_with_self("keeper_project.runtime.worker.celery_programs:Beat")  # type: ignore[arg-type]  # stubs


app = Keeper("keeper", task_cls=ContainedTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def _load_end(**_kwargs: Any) -> None:
    # While there is memory for it.
    importlib.import_module("keeper_project.runtime.worker.celery_programs")
    importlib.import_module("keeper_project.runtime.supervisor").refuse_core_dumps()


@worker_init.connect
def _trace(**_kwargs: Any) -> None:
    from django.conf import settings  # noqa: PLC0415 - as below

    if settings.KEEPER_TRACES_URL:
        tracing = importlib.import_module("keeper_project.observability.tracing")
        tracing.instrument()
        tracing.start()


@worker_ready.connect
def _show_metrics(**_kwargs: Any) -> None:
    # Once Django is loaded, which the worker does after this module.
    from keeper_project.observability.metrics import serve_metrics  # noqa: PLC0415

    serve_metrics()
