"""Shows what Keeper measures at `/metrics`, in Prometheus' text format.

Counters and times are kept by the process in which things happen. Where several processes serve one
machine, `keeper run` gives them a folder (PROMETHEUS_MULTIPROC_DIR) in which they add up. Values from the
database, such as how long work waits, are read on each scrape
(`keeper_project.observability.database_metrics`).
"""

import time
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    generate_latest,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector

from audit_app.middleware import Middleware
from core.http.requests import times_of
from core.network.client_address import client_address, forwarded_name, is_trusted_proxy, networks
from keeper_project.observability.database_metrics import (
    Ask,
    StateCollector,
    absent,
    bounded_gauges,
    database_gauges,
)
from keeper_project.runtime.request_threads import WITHOUT_DATABASE

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FORWARDED: Final = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA")


class RequestMetricsMiddleware(Middleware):
    """Measures each request but the probes, under the name of its route and never under its path."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        method = request.method if request.method in _METHODS else "other"
        match = request.resolver_match
        view = match.view_name or "unnamed" if match else "none"
        times = times_of(view, str(method), f"{response.status_code // 100}xx")
        times.observe(time.perf_counter() - started)
        return response


def registry(ask: Ask = database_gauges) -> CollectorRegistry:
    """Return what this machine's processes have measured, and the state of the database by `ask`."""
    found = CollectorRegistry()
    if settings.PROMETHEUS_MULTIPROC_DIR:
        MultiProcessCollector(found)  # type: ignore[no-untyped-call]  # the library is not typed there
    else:
        found.register(REGISTRY)
    found.register(StateCollector(ask))
    return found


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics, to addresses in KEEPER_METRICS_ALLOWED alone."""
    if not _may_look(request):
        return HttpResponse(
            "Metrics are shown to the addresses in KEEPER_METRICS_ALLOWED.\n",
            status=HTTPStatus.FORBIDDEN,
            content_type="text/plain; charset=utf-8",
        )
    found = registry(absent if WITHOUT_DATABASE in request.META else database_gauges)
    return HttpResponse(generate_latest(found), content_type=CONTENT_TYPE_LATEST)


def serve_metrics() -> None:
    """Show a worker's metrics at KEEPER_METRICS_LISTEN. Raises OSError if that is taken."""
    if settings.KEEPER_METRICS_LISTEN:
        address, _, port = settings.KEEPER_METRICS_LISTEN.rpartition(":")
        start_http_server(int(port), addr=address.strip("[]"), registry=registry(bounded_gauges))


def _may_look(request: HttpRequest) -> bool:
    if not is_trusted_proxy(str(request.META.get("REMOTE_ADDR", ""))) and any(
        request.META.get(header) for header in (*_FORWARDED, forwarded_name())
    ):
        # A proxy on this machine that Keeper does not know: its clients are other machines.
        return False
    address = client_address(request)
    allowed = networks(tuple(settings.KEEPER_METRICS_ALLOWED))
    return bool(address) and any(ip_address(address) in network for network in allowed)
