"""An environment delivered to three systems at once by one worker, against bare loops of the same."""

import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from urllib3.connectionpool import HTTPConnectionPool

from benchmarks.measuring.scale import Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Figure, Row, Target
from benchmarks.measuring.values import secret_name, secret_value
from benchmarks.sync.sync_push import AWS, NAMES, REGION, VAULT, BareAws, BareVault, each, unused_prefix

if TYPE_CHECKING:
    from sync_app.models import Target as SyncTarget

REACH = Target(1.5, 1.2, at_most=True)
SSM = "aws_parameter_store"
SYSTEMS = (VAULT, AWS, SSM)
ENVIRONMENT = "development"
_MEGABYTE = 1024
_WORKS = {"delivery": "first delivery of {size:,} secrets to {systems}", "pass": "the next pass over them"}


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure once on each database: three runs in one worker, then the three loops in one process."""
    size = min(scale.sizes)
    # Each has a server of its own, as in life: moto answers one request at a time.
    servers = stage.sync_servers | {SSM: {"url": stage.parameter_store}}
    rows: list[Row] = []
    for database in stage.databases:
        keeper = stage.keeper(database, size)
        ours = keeper.inside(f"{__name__}:measure", servers=servers)
        bare = keeper.inside(f"{__name__}:measure_bare", servers=servers, count=size)
        systems = ", ".join([NAMES[VAULT], NAMES[AWS], "SSM (moto)"])
        for work, words in _WORKS.items():
            text = words.format(size=size, systems=systems)
            rows += [
                Comparison(
                    work=text,
                    database=database,
                    unit="s",
                    keeper=[ours[work]["seconds"]],
                    other="bare loops at once",
                    other_figures=[bare[work]["seconds"]],
                    target=REACH,
                ),
                Comparison(
                    work=f"{text}, requests for each secret and system",
                    database=database,
                    unit="requests",
                    keeper=[ours[work]["calls"] / size / len(SYSTEMS)],
                    other="bare loops at once",
                    other_figures=[bare[work]["calls"] / size / len(SYSTEMS)],
                ),
                Comparison(
                    work=f"{text}, CPU of the process for each secret and system",
                    database=database,
                    unit="ms",
                    keeper=[ours[work]["cpu"] / size / len(SYSTEMS) * 1000],
                    other="bare loops at once",
                    other_figures=[bare[work]["cpu"] / size / len(SYSTEMS) * 1000],
                ),
                Figure(f"{text}: peak memory of the worker, MB", database, ours[work]["peak"]),
                Figure(f"{text}: the same of the bare loops, MB", database, bare[work]["peak"]),
            ]
    return rows


def measure(servers: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, float]]:
    """Return seconds, requests and peak memory (MB) of the first delivery and of the pass after it."""
    from sync_app.backends.registry import BACKENDS

    _allow_this_machine()
    for kind in SYSTEMS:
        # The quotas of AWS would be all that is measured.
        BACKENDS[kind].writes_per_second = 1e9
    made = [_target(kind, servers[kind]) for kind in SYSTEMS]
    return {work: _measured([_runner(target) for target in made]) for work in _WORKS}


def measure_bare(servers: Mapping[str, Mapping[str, str]], count: int) -> dict[str, dict[str, float]]:
    """Return the same of loops that send the least that does this."""
    from sync_app.jobs.worker_pool import CONCURRENCY

    loops: Sequence[Any] = (
        BareVault(dict(servers[VAULT]), CONCURRENCY),
        BareAws(dict(servers[AWS]), CONCURRENCY),
        BareParameters(servers[SSM]["url"], CONCURRENCY),
    )
    creating = [_creating(loop, count) for loop in loops]
    return {"delivery": _measured(creating), "pass": _measured([loop.list for loop in loops])}


class BareParameters:
    """The least that writes the same to Parameter Store, with as many threads as Keeper."""

    def __init__(self, url: str, threads: int) -> None:
        self._client = boto3.client(
            "ssm",
            region_name=REGION,
            endpoint_url=url,
            config=Config(max_pool_connections=threads),
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self._prefix, self._threads = unused_prefix(), threads

    def create(self, count: int) -> None:
        """Create parameters with a tag, which name their owner."""

        def create(item: int) -> None:
            self._client.put_parameter(
                Name=f"/{self._prefix}/{secret_name(item)}",
                Value=secret_value(item),
                Type="SecureString",
                Tags=[{"Key": "owner", "Value": "benchmark"}],
            )

        each(create, range(count), self._threads)

    def list(self) -> None:
        """List them with their tags, 50 a page: only another request for each shows whose it is."""

        def tags(name: str) -> None:
            self._client.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)

        pages = self._client.get_paginator("describe_parameters").paginate(
            ParameterFilters=[{"Key": "Path", "Option": "Recursive", "Values": [f"/{self._prefix}"]}],
            PaginationConfig={"PageSize": 50},
        )
        for page in pages:
            each(tags, [entry["Name"] for entry in page["Parameters"]], self._threads)


def _creating(loop: Any, count: int) -> Callable[[], object]:
    return lambda: loop.create(count)


def _runner(target: "SyncTarget") -> Callable[[], object]:
    from django.db import connection

    from benchmarks.sync.sync_push import synced

    def synced_in_thread() -> None:
        try:
            synced(target, ENVIRONMENT)
        finally:
            connection.close()

    return synced_in_thread


def _measured(works: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Do these at once, each in a thread, and return what that took."""
    with _counted() as calls, ThreadPoolExecutor(len(works)) as pool:
        began, used = time.monotonic(), time.process_time()
        for done in [pool.submit(work) for work in works]:
            done.result()
        seconds, cpu = time.monotonic() - began, time.process_time() - used
    return {"seconds": seconds, "cpu": cpu, "calls": len(calls), "peak": _peak()}


@contextmanager
def _counted() -> Iterator[list[str]]:
    """Collect the threads of the requests that are sent meanwhile; boto3, hvac and Keeper all use urllib3."""
    calls: list[str] = []
    send = HTTPConnectionPool.urlopen

    def counted(self: HTTPConnectionPool, *given: Any, **options: Any) -> Any:
        # Threads append without a lock.
        calls.append(threading.current_thread().name)
        return send(self, *given, **options)

    HTTPConnectionPool.urlopen = counted  # type: ignore[method-assign]  # for as long as this lasts
    try:
        yield calls
    finally:
        HTTPConnectionPool.urlopen = send  # type: ignore[method-assign]  # as it was


def _target(kind: str, server: Mapping[str, str]) -> "SyncTarget":
    from benchmarks.sync.sync_push import actor_in, destination_of
    from sync_app.targets import service as targets

    environment, actor = actor_in(ENVIRONMENT)
    destination, credentials = destination_of(kind, server)
    return targets.create(
        actor=actor,
        environment=environment,
        name=f"fan-out-{kind.replace('_', '-')}",
        backend=kind,
        destination=destination,
        credentials=credentials,
    )


def _allow_this_machine() -> None:
    from django.conf import settings

    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEGABYTE
