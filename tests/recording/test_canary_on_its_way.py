"""The canary on its way out of Keeper and in: to Vault and AWS that repeat it, rotation, approvals, shares, files.

What tests/recording/test_canary_value.py does for the faces, this does for the flows behind them, each with success
and failure; afterwards it is looked for in the same places, and in messages to workers, metrics, temporary files and the
processes of this user.
"""

import json
import socketserver
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from celery import current_app
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from environments_app.approvals import service as approvals
from environments_app.authorization.policy import Principal
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Environment, User
from environments_app.notifications import service as notifications
from environments_app.notifications.recipients import try_addressee
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.services.comparison import plan_promotion, promote
from secrets_app.services.read import reveal
from secrets_app.services.share import open_share, share_once
from secrets_app.types.registry import SecretType
from secrets_app.webhooks import add_webhook
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.capabilities import FormField
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import SyncError
from sync_app.models import Run, SyncEntry, Target
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.rotators.mysql.rotator import MySql
from sync_app.runs import runner as runs_runner
from sync_app.targets import consents
from sync_app.targets import service as targets
from tests.aws_strict.faults import Plan
from tests.canary import CANARY, found_in, traces
from tests.recording.echo import Echo, echoing
from tests.servers.fixtures import moto_url, openbao, strict_aws

__all__ = ["moto_url", "openbao", "strict_aws"]
# Threads compare values; they find the system keys open only once those are committed.
pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Way:
    """Who acts, where, and what was said to whom."""

    cast: Cast
    browser: Client
    messages: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)

    @property
    def alice(self) -> Principal:
        return self.cast.principal(self.cast.alice)

    def keep(
        self, name: str, value: str = CANARY, *, place: Environment | None = None, **more: Any
    ) -> Secret:
        secret, _ = write.put(
            actor=self.alice,
            environment=place or self.cast.development,
            name=name,
            value=value,
            **{"secret_type": SecretType.TEXT, **more},
        )
        return secret

    def secret(self, name: str) -> Secret:
        return Secret.objects.select_related("environment").get(
            environment=self.cast.development, name=name, live=True
        )

    def get(self, path: str) -> None:
        response = self.browser.get(path)
        assert response.status_code == 200, (path, response.status_code)
        self.answers.append(response.content)


@pytest.fixture
def way(
    cast: Cast,
    signed_in: Callable[[User], Client],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Way:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    made = Way(cast, signed_in(cast.alice))

    def sent(name: str, args: Any = (), kwargs: Any = None, **options: Any) -> None:
        made.messages.append(repr((name, args, kwargs, options)).encode())

    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(current_app, "send_task", sent)
    return made


def left(way: Way, caplog: pytest.LogCaptureFixture, folder: Path) -> list[str]:
    """Return where the canary was left."""
    way.get("/activity")
    way.get(reverse("sync"))
    way.answers.append(Client().get("/metrics").content)
    told = [*way.answers, *way.messages]
    return [
        *traces(caplog=caplog, folders=[folder], answers=told),
        *(f"process {name}: {found}" for name, text in _processes() for found in found_in(text)),
    ]


def _processes() -> Iterator[tuple[str, bytes]]:
    """Yield what others see of this user's processes: how they were called, and their environment."""
    for path in Path("/proc").glob("[0-9]*"):
        for what in ("cmdline", "environ"):
            try:
                yield f"{path.name} {what}", (path / what).read_bytes()
            except OSError:
                continue


def done(run: Run, state: str = "done") -> Run:
    """Do the work of a run."""
    ended = runs_runner.execute(run.pk)
    assert ended is not None
    assert ended.state == state, ended.error
    return ended


def try_target(
    way: Way,
    kind: str,
    destination: dict[str, str],
    credentials: dict[str, str],
    echo: type[Echo],
    *,
    direction: str,
) -> Target:
    """Push, be refused with the request repeated, and push again once that is over."""
    target = targets.create(
        actor=way.alice,
        environment=way.cast.development,
        name=kind.split("_", maxsplit=1)[0],
        backend=kind,
        destination=destination,
        credentials=credentials,
        direction=direction,
    )
    way.keep("out/first")
    echo.refusing = True
    failed = runs_runner.execute(runs_runner.request_sync(actor=way.alice, target=target).pk)
    assert failed is not None
    assert echo.met, "there was something to repeat"
    way.get(reverse("target-detail", args=[target.pk]))
    if failed.plan:
        way.get(reverse("plan-detail", args=[failed.plan.pk]))
    echo.refusing = False
    Run.objects.filter(target=target, active=True).update(active=None, state="failed")
    done(runs_runner.request_sync(actor=way.alice, target=target))
    return target


def vault(way: Way, openbao: tuple[str, str]) -> None:
    """To Vault, and from it."""
    with echoing(openbao[0]) as (url, echo):
        world = VaultWorld(url, openbao[1])
        target = try_target(way, world.kind, world.destination, world.credentials, echo, direction="push")
        direct = VaultWorld(*openbao)
        assert direct.value(f"{world.prefix}/out/first") == CANARY
        consents.give_consent(actor=way.alice, environment=way.cast.production, target=target)
        way.keep("out/second", "password ${production/deep}", uses_references=True)
        done(runs_runner.request_sync(actor=way.alice, target=target))
        assert direct.value(f"{world.prefix}/out/second") == f"password {CANARY} deep"
        way.get(reverse("target-detail", args=[target.pk]))
    pull_from_vault(way, direct)


def pull_from_vault(way: Way, world: VaultWorld) -> None:
    """From Vault: what is new there, what was changed there, and what Keeper does not take."""
    prefix = f"{world.prefix}-in"
    target = targets.create(
        actor=way.alice,
        environment=way.cast.development,
        name="pulled",
        backend=world.kind,
        destination={**world.destination, "prefix": prefix},
        credentials=world.credentials,
        direction="pull",
    )
    world.write(f"{prefix}/in/vault", CANARY)
    world.write(f"{prefix}/in/large", CANARY * 4000)
    done(runs_runner.request_sync(actor=way.alice, target=target))
    assert reveal(actor=way.alice, secret=way.secret("in/vault")).value == CANARY
    world.write(f"{prefix}/in/vault", f"{CANARY} changed there")
    done(runs_runner.request_sync(actor=way.alice, target=target))
    assert reveal(actor=way.alice, secret=way.secret("in/vault")).value == f"{CANARY} changed there"
    way.get(reverse("target-detail", args=[target.pk]))


def aws(way: Way, url: str, moto: str, plan: Plan) -> None:
    """To AWS, with the canary for a credential as well."""
    with echoing(url) as (address, echo):
        world = AwsWorld(address, moto, plan)
        credentials = {"access_key_id": "testing", "secret_access_key": CANARY}
        target = try_target(way, world.kind, world.destination, credentials, echo, direction="both")
        assert world.value(f"{world.prefix}/out/first") == CANARY
        world.write(f"{world.prefix}/in/first", f"{CANARY} from there")
        world.write(f"{world.prefix}/out/first", f"{CANARY} changed there")
        SyncEntry.objects.update(synced_at=None)
        done(runs_runner.request_sync(actor=way.alice, target=target))
        assert reveal(actor=way.alice, secret=way.secret("out/first")).value == f"{CANARY} changed there"
        way.get(reverse("target-detail", args=[target.pk]))


def rotate(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a rotator that makes the canary, and one whose server repeats it in its error."""
    secret = way.keep("turned")
    policy = policies.create(
        actor=way.alice, secret=secret, rotator="generated", settings={}, credentials={}, grace_seconds=0
    )
    made = SimpleNamespace(value=f"{CANARY} turned")
    monkeypatch.setattr("sync_app.rotators.generated.rotator.generate", lambda *_: made)
    rotation = request_rotation(actor=way.alice, policy=policy)
    execution_runner.execute(rotation.pk)
    assert Secret.objects.get(pk=secret.pk).current_number == 2
    way.get(reverse("rotation-policy", args=[policy.pk]))


def refused_by_a_database(way: Way) -> None:
    """By a database that answers each connection with an error that holds the canary."""
    secret = way.keep(
        "login", json.dumps({"username": "app_a", "password": CANARY}), secret_type=SecretType.JSON
    )
    with _refusing_database() as port:
        settings = {"host": "127.0.0.1", "port": str(port), "username_a": "app_a", "username_b": "app_b"}
        settings = {name: text for name, text in settings.items() if name in _names(MySql.settings_fields)}
        credentials = dict.fromkeys(_names(MySql.admin_fields), CANARY)
        with pytest.raises(SyncError):
            policies.create(
                actor=way.alice, secret=secret, rotator="mysql", settings=settings, credentials=credentials
            )


def _names(fields: Sequence[FormField]) -> list[str]:
    return [field.name for field in fields]


@contextmanager
def _refusing_database() -> Iterator[int]:
    """Listen as MariaDB, and say no in its words (an ERR packet before the handshake)."""
    told = b"\xff" + (1040).to_bytes(2, "little") + CANARY.encode()
    packet = len(told).to_bytes(3, "little") + b"\x00" + told

    class Refusal(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(packet)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusal) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def people(way: Way) -> None:
    """Shared once, asked for and approved, promoted, and told of by webhooks that fail."""
    secret = way.keep("shared")
    _, link = share_once(actor=way.alice, secret=secret)
    assert open_share(actor=way.alice, link=link).value == CANARY
    with echoing("http://127.0.0.1:1") as (url, echo):
        echo.refusing = True
        webhook, _ = add_webhook(
            actor=way.alice,
            environment=way.cast.development,
            name="chat",
            url=f"{url}/{CANARY.encode().hex()}",
        )
        try_addressee(actor=way.alice, addressee=webhook)
        notifications.deliver_due()
        assert echo.met
    place, there = way.cast.development, way.cast.production
    plan = plan_promotion(actor=way.alice, source=place, target=there, names=["shared"])
    promote(actor=way.alice, source=place, target=there, names=["shared"], digest=plan.digest)
    approve(way)


def approve(way: Way) -> None:
    """Let a proposed value wait, sealed; carry one out, and refuse another."""
    place = way.cast.production
    memberships.grant(actor=way.alice, environment=place, user=way.cast.erin, role="manager")
    environments.update_environment(actor=way.alice, environment=place, protected=True)
    secret = Secret.objects.select_related("environment").get(environment=place, name="shared")
    for ending in ("carried out", "refused"):
        with pytest.raises(ApprovalNeeded) as raised:
            write.update(actor=way.alice, secret=secret, value=f"{CANARY} {ending}")
        asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
        way.get(reverse("approval-detail", args=[asked.pk]))
        if ending == "refused":
            approvals.reject(actor=way.cast.principal(way.cast.erin), approval=asked)
            continue
        decided = approvals.approve(actor=way.cast.principal(way.cast.erin), approval=asked)
        approvals.carry_out(actor=way.alice, approval=decided)
    assert Secret.objects.get(pk=secret.pk).current_number == 2


def files(way: Way) -> None:
    """In as a file and out as one, by the pages; a file that is broken."""
    form = {"environment": "development", "text": f'A="{CANARY}', "format": "json"}
    # Whoever sent it gets it back in the form; what else that leaves is looked for.
    assert way.browser.post(reverse("secret-import"), form).status_code == 422
    exported = way.browser.post(reverse("secret-export"), {"environment": "development", "format": "json"})
    assert exported.status_code == 200
    lifecycle.delete(actor=way.alice, secret=way.keep("gone"))


def test_it_is_left_nowhere_on_its_way(
    way: Way,
    openbao: tuple[str, str],
    strict_aws: tuple[str, Plan],
    moto_url: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO")
    way.keep("deep", f"{CANARY} deep", place=way.cast.production)
    files(way)
    vault(way, openbao)
    strict_aws[1].clear()
    aws(way, strict_aws[0], moto_url, strict_aws[1])
    rotate(way, monkeypatch)
    refused_by_a_database(way)
    people(way)
    assert way.messages
    assert left(way, caplog, tmp_path) == []
