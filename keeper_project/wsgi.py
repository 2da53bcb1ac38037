"""The WSGI entry point that the web server loads, and what answers in front of it."""

import os
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.util import Finalize
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse

from core.http.requests import Environ, Front

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")

if settings.KEEPER_TRACES_URL:
    # Before the views: it adds a middleware.
    import_module("keeper_project.observability.tracing").instrument()
_answer = get_wsgi_application()

# These read the models, which the line above has loaded.
from gateway_app.engine.client import read_engine  # noqa: E402
from gateway_app.lanes import Lanes  # noqa: E402
from gateway_app.protocol import doors  # noqa: E402


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Answer a request; an answer that is whole is handed over as a list, which the server sends at once.

    Any other it takes piece by piece, by turns of its threads and Python's.
    """
    response = _answer(environ, start_response)
    if not isinstance(response, HttpResponse):
        return response
    body = [response.content]
    response.close()
    return body


def front() -> Front:
    """Return what answers in front of the application, one a process."""
    engine = read_engine()
    # Granian's processes are multiprocessing's, which run these.
    Finalize(None, engine.stop, exitpriority=1)
    lanes = Lanes(engine, doors())
    if not settings.KEEPER_TRACES_URL:
        return lanes
    tracing = import_module("keeper_project.observability.tracing")
    # In the process that serves: the exporter has a thread.
    tracing.start()
    traced: Front = tracing.traced(lanes)
    return traced


# pysaml2 reads schemas for seconds when it is imported: now, and not during a sign-in. A system check
# reports it if missing.
if settings.KEEPER_SAML and find_spec("djangosaml2"):
    import_module("environments_app.saml.djangosaml2_views")
