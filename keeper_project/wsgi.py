"""The WSGI entry point that the web server loads."""

import os
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.util import Finalize
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.http import HttpResponse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")

if settings.KEEPER_TRACES_URL:
    # Before the views: it adds a middleware.
    import_module("keeper_project.observability.tracing").instrument()
_answer = get_wsgi_application()

# These read the models, which the line above has loaded.
from gateway_app.aws.lane import aws_read  # noqa: E402
from gateway_app.engine.client import read_engine  # noqa: E402
from gateway_app.kv2.lane import kv2_read  # noqa: E402
from gateway_app.lanes import RecordedReads  # noqa: E402
from gateway_app.rest import PlainLists, list_poll, rest_read  # noqa: E402

# A traced request goes through Django, which makes the span that those of its statements belong to.
_plain_lists = None if settings.KEEPER_TRACES_URL else PlainLists(close_old_connections)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer a request, a plain list in front of Django; an answer that is whole is handed over as a list.

    The server sends that at once. Any other it takes piece by piece, by turns of its threads and Python's.
    """
    page = _plain_lists(environ) if _plain_lists else None
    if page:
        start_response(page.status, page.headers)
        return page.body
    response = _answer(environ, start_response)
    if not isinstance(response, HttpResponse):
        return response
    body = [response.content]
    response.close()
    return body


def recorded_reads() -> Any:
    """Return what answers plain reads of values in front of the application, one a process."""
    engine = read_engine()
    # Granian's processes are multiprocessing's, which run these.
    Finalize(None, engine.stop, exitpriority=1)
    reads = RecordedReads(engine, [rest_read, list_poll, kv2_read, aws_read])
    if not settings.KEEPER_TRACES_URL:
        return reads
    tracing = import_module("keeper_project.observability.tracing")
    # In the process that serves: the exporter has a thread.
    tracing.start()
    return tracing.traced(reads)


# pysaml2 reads schemas for seconds when it is imported: now, and not during a sign-in. A system check
# reports it if missing.
if settings.KEEPER_SAML and find_spec("djangosaml2"):
    import_module("environments_app.saml.djangosaml2_views")
