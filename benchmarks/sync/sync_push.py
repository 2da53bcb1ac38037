"""A push of 1,000 changed secrets, and a pass without a change, against bare loops over the same server."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import boto3
import hvac
import requests
from botocore.config import Config
from requests.adapters import HTTPAdapter

from benchmarks.measuring.scale import Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Row, Target
from benchmarks.measuring.values import secret_name, secret_value
from benchmarks.servers import SECRETS

if TYPE_CHECKING:
    from environments_app.authorization.policy import Principal
    from environments_app.models import Environment
    from sync_app.models import Target as SyncTarget

T = TypeVar("T")
PUSH = Target(1.15, 1.05, at_most=True)
PASS = Target(1.5, 1.2, at_most=True)
ENVIRONMENT = "staging"
# Each takes half a minute or more.
_ROUNDS = 3
REGION = "eu-central-1"
AWS = "aws_secrets_manager"
VAULT = "vault_kv2"
NAMES = {AWS: "AWS (moto)", VAULT: "OpenBao"}


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure on each database, in a process of Keeper's; both loops ask the same server in turns."""
    rows: list[Row] = []
    for database in stage.databases:
        keeper = stage.keeper(database)
        for backend, server in stage.sync_servers.items():
            found = keeper.inside(
                f"{__name__}:measure", backend=backend, server=server, rounds=min(scale.rounds, _ROUNDS)
            )
            for work, target in (("push", PUSH), ("push by CPU", None), ("pass", PASS)):
                rows.append(
                    Comparison(
                        work=f"{WORKS[work]}, {NAMES[backend]}",
                        database=database,
                        unit="ms",
                        keeper=found[work],
                        other=OTHERS[work],
                        other_figures=found[f"bare {work}"],
                        target=target,
                    )
                )
    return rows


WORKS = {
    "push": f"push of {SECRETS:,} changed secrets",
    "push by CPU": f"push of {SECRETS:,} changed secrets, CPU of client and server",
    "pass": f"pass over {SECRETS:,} unchanged ones",
}
OTHERS = {
    "push": "a bare loop of the same writes",
    "push by CPU": "a bare loop of the same writes",
    "pass": "a bare list",
}


def measure(
    backend: str, server: dict[str, str], *, rounds: int, count: int = SECRETS
) -> dict[str, list[float]]:
    """Return milliseconds of each round, of Keeper and of a bare loop with as many threads.

    Other work on the machine draws out what is read from the clock, and hardly what is CPU time.
    """
    from django.conf import settings

    from sync_app.backends.aws.secrets_manager import AwsSecretsManager
    from sync_app.jobs.worker_pool import CONCURRENCY

    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    # The quota of AWS would be all that is measured.
    AwsSecretsManager.writes_per_second = 1e9
    bare = BareAws(server, CONCURRENCY) if backend == AWS else BareVault(server, CONCURRENCY)
    target = _target(backend, server)
    _change(backend, 0, count)
    synced(target)
    bare.create(count)
    found: dict[str, list[float]] = defaultdict(list)
    server_pid = int(server["pid"])

    def note(work: str, do: Callable[[], object]) -> None:
        by_clock, by_cpu = _timed(do, server_pid)
        found[work].append(by_clock)
        found[f"{work} by CPU"].append(by_cpu)

    for number in range(1, rounds + 1):
        _change(backend, number, count)
        note("push", partial(synced, target))
        note("bare push", partial(bare.update, number))
        note("pass", partial(synced, target))
        note("bare pass", bare.list)
    return found


def unused_prefix() -> str:
    """Return a prefix that nobody has used: the servers outlive a database."""
    return f"place-{uuid4().hex[:12]}"


def _timed(work: Callable[[], object], server: int) -> tuple[float, float]:
    """Return the milliseconds that work takes by the clock, and in CPU of this process and a server's."""
    started, used = time.perf_counter(), time.process_time() + _cpu_seconds(server)
    work()
    ended, after = time.perf_counter(), time.process_time() + _cpu_seconds(server)
    return (ended - started) * 1000, (after - used) * 1000


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process of this machine has used (proc_pid_stat(5): utime, stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def actor_in(name: str) -> "tuple[Environment, Principal]":
    """Return an environment and its manager."""
    from environments_app.authorization.policy import Grant
    from environments_app.authorization.principals import system_principal
    from environments_app.models import Environment, Role

    place = Environment.objects.get(name=name)
    grant = Grant(
        environment_id=place.pk,
        environment_uuid=place.uuid,
        environment_name=place.name,
        role=Role.MANAGER,
        prefix="",
    )
    return place, system_principal(grants=(grant,))


def destination_of(kind: str, server: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return destination and credentials of a target in a server, under a prefix of its own."""
    if kind == VAULT:
        return {"address": server["url"], "prefix": unused_prefix()}, {"token": server["token"]}
    destination = {
        "region": REGION,
        "prefix": unused_prefix(),
        "endpoint": server["url"],
        "sts_endpoint": server["url"],
    }
    return destination, {"access_key_id": "testing", "secret_access_key": "testing"}


def _target(backend: str, server: dict[str, str]) -> "SyncTarget":
    from sync_app.targets import service as targets

    place, actor = actor_in(ENVIRONMENT)
    destination, credentials = destination_of(backend, server)
    return targets.create(
        actor=actor,
        environment=place,
        name=backend.replace("_", "-"),
        backend=backend,
        destination=destination,
        credentials=credentials,
        scope=backend,
    )


def _change(scope: str, number: int, count: int) -> None:
    from secrets_app.services import write as write_service
    from secrets_app.types.registry import SecretType

    place, actor = actor_in(ENVIRONMENT)
    for item in range(count):
        write_service.put(
            actor=actor,
            environment=place,
            name=f"{scope}/{secret_name(item)}",
            secret_type=SecretType.TEXT,
            value=_value(item, number),
        )


def _value(item: int, number: int) -> str:
    return f"{secret_value(item)}-{number}"


def synced(target: "SyncTarget", environment: str = ENVIRONMENT) -> None:
    """Make a pass over a target. Raises RuntimeError if it did not succeed."""
    from sync_app.models import SyncEntry
    from sync_app.models import Target as Stored
    from sync_app.runs import runner as runs_runner

    # As if the ten minutes that AWS asks for between two versions were over.
    SyncEntry.objects.filter(target=target).update(synced_at=None)
    _, actor = actor_in(environment)
    run = runs_runner.execute(
        runs_runner.request_sync(actor=actor, target=Stored.objects.get(pk=target.pk)).pk
    )
    if run is None or run.state != "done" or run.failed:
        raise RuntimeError(f"the pass did not succeed: {run and (run.state, run.error, run.failed)}")


class BareAws:
    """The least that writes the same to AWS: put, then move, with as many threads as Keeper."""

    def __init__(self, server: dict[str, str], threads: int) -> None:
        config = Config(max_pool_connections=threads)
        self._client = boto3.client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=server["url"],
            config=config,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self._place, self._threads = unused_prefix(), threads
        self._versions: list[tuple[str, str]] = []

    def create(self, count: int) -> None:
        """Create what is changed later."""

        def create(item: int) -> tuple[str, str]:
            reply = self._client.create_secret(
                Name=f"{self._place}/{secret_name(item)}", SecretString=_value(item, 0)
            )
            return reply["ARN"], reply["VersionId"]

        self._versions = each(create, range(count), self._threads)

    def update(self, number: int) -> None:
        """Put a new version of each, and move AWSCURRENT to it."""

        def update(item: int) -> tuple[str, str]:
            arn, version = self._versions[item]
            new = self._client.put_secret_value(
                SecretId=arn, SecretString=_value(item, number), VersionStages=["PENDING"]
            )["VersionId"]
            self._client.update_secret_version_stage(
                SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=new, RemoveFromVersionId=version
            )
            return arn, new

        self._versions = each(update, range(len(self._versions)), self._threads)

    def list(self) -> None:
        """List them, a hundred a page."""
        pages = self._client.get_paginator("list_secrets")
        for _ in pages.paginate(
            PaginationConfig={"PageSize": 100}, Filters=[{"Key": "name", "Values": [f"{self._place}/"]}]
        ):
            pass


class BareVault:
    """The least that writes the same to Vault: one write each, with the version that is there."""

    def __init__(self, server: dict[str, str], threads: int) -> None:
        session = requests.Session()
        session.mount("http://", HTTPAdapter(pool_maxsize=threads))
        client = hvac.Client(url=server["url"], token=server["token"], session=session)
        self._client, self._place, self._threads = client, unused_prefix(), threads
        self._count = 0

    def create(self, count: int) -> None:
        """Create what is changed later."""
        self._count = count
        self._write(0)

    def update(self, number: int) -> None:
        """Write a new version of each."""
        self._write(number)

    def _write(self, number: int) -> None:
        def write(item: int) -> None:
            self._client.secrets.kv.v2.create_or_update_secret(
                f"{self._place}/{secret_name(item)}",
                {"value": _value(item, number)},
                cas=number,
                mount_point="secret",
            )

        each(write, range(self._count), self._threads)

    def list(self) -> None:
        """List them with their metadata, folder by folder."""
        folders = [f"{self._place}/"]
        while folders:
            folder = folders.pop()
            reply = self._client.adapter.get(
                f"/v1/secret/detailed-metadata/{folder}", params={"list": "true"}
            )
            body = reply.json() if isinstance(reply, requests.Response) else reply
            folders += [folder + key for key in body["data"]["keys"] if key.endswith("/")]


def each(work: Callable[[T], Any], items: Iterable[T], threads: int) -> list[Any]:
    """Return what a call returns for each item, by so many threads."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
