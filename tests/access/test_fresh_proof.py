"""A session whose proof of identity has lapsed is asked for it by each use case that demands a fresh one."""

import ast
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from audit_app.models import AuditEvent, SinkState
from environments_app import event_sinks
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.authentication import passkeys, second_factor
from environments_app.environments import deletion, groups, memberships
from environments_app.environments import service as environments
from environments_app.errors import ConfirmationNeeded
from environments_app.models import Departure, Environment, EventSink, Membership, OidcProvider, ScimClient
from environments_app.oidc import providers
from environments_app.single_sign_on import connected, group_mapping
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import personal, rotation, scim_clients
from environments_app.tokens import service as tokens
from environments_app.trusts import service as trusts
from environments_app.users import accounts, handing_over, password_links, suspensions
from operations_app.backup import requests as backups
from operations_app.backup import restore
from operations_app.system import schedules
from secrets_app.departures import decisions as departures
from secrets_app.departures.ending import offboard
from secrets_app.key_operations import jobs
from secrets_app.models import Proof, Secret
from secrets_app.queries import states
from secrets_app.rows import environment_snapshot
from secrets_app.services import emergency, outside, read
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]
APPS = ("environments_app", "secrets_app", "sync_app", "gateway_app", "operations_app")
PASSWORD = "correct horse battery"
PARTY: Any = None


@pytest.fixture(autouse=True)
def _one_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_snapshot, "MIN_SECRETS", 1)


def own(cast: Cast, act: Callable[..., Any]) -> Any:
    return partial(act, user=cast.alice)


def viewers_token(cast: Cast) -> Any:
    fresh = cast.principal(cast.alice)
    token, _ = tokens.issue(actor=fresh, environment=cast.development, role="viewer", name="ci")
    return partial(rotation.rotate, token=token)


def viewers_trust(cast: Cast) -> Any:
    return partial(trusts.change, trust=make_trust(cast, Issuer(), role="viewer"), claims={"sub": "another"})


def readers_trust(cast: Cast) -> Any:
    return partial(trusts.change, trust=make_trust(cast, Issuer(), role="viewer"), role="reader")


def new_trust(cast: Cast) -> Any:
    return partial(trusts.create, environment=cast.development, preset="github", name="ci", role="viewer",
                   claims={"repository": "example/shop"})  # fmt: skip


def request(cast: Cast) -> Any:
    asks = cast.principal(cast.charlie)
    asked = access_requests.submit(actor=asks, environment="production", role="reader", minutes=60)
    return partial(decisions.approve, request=asked)


def reading_group(cast: Cast) -> Any:
    group = Group.objects.create(name="readers")
    Membership.objects.create(environment=cast.development, group=group, role="reader")
    return partial(groups.add_to_group, user=cast.bob, group=group)


def snapshot(cast: Cast) -> Any:
    keep(cast)
    for _ in range(2):
        read.reveal_environment(actor=cast.principal(cast.alice), environment=cast.development)
        environment_snapshot.store_prepared()
    return partial(read.export_snapshot, environment=cast.development)


def rows(cast: Cast) -> Any:
    keep(cast)
    return partial(read.reveal_environment, environment=cast.development, prefix="payments")


def emergency_read(cast: Cast) -> Any:
    alice, place = cast.principal(cast.alice), cast.development
    environments.update_environment(
        actor=alice, environment=place, guarded_prefixes="payments", emergency_reads=True
    )
    keep(cast, environment=Environment.objects.get(pk=place.pk))
    secret = Secret.objects.select_related("environment").get()
    return partial(emergency.read_in_emergency, secret=secret, reason="It is down, and nobody answers")


def shared(cast: Cast) -> Any:
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.development, outside_hours=1
    )
    secret = Secret.objects.select_related("environment").get(pk=keep(cast).pk)
    return partial(outside.share_outside, secret=secret, proof=Proof.PHRASE, hours=1)


def stored_client() -> ScimClient:
    return ScimClient.objects.create(name="Okta", preset="okta")


def stored_sink(cast: Cast) -> EventSink:
    return event_sinks.create_sink(
        actor=cast.principal(cast.root).proven(), name="siem", address="https://siem.example/"
    )


def stored_provider() -> OidcProvider:
    return OidcProvider.objects.create(
        slug="globex",
        label="Globex",
        issuer="https://globex.example",
        client_id="keeper",
        secret=b"",
        document="{}",
        fetched_at=timezone.now(),
    )


def offered() -> connected.Offer:
    return connected.Offer(issuer="oidc:globex", subject="sub", name="alice", until=0)


GRANT = "environments_app.authorization.break_glass.confirm_grant"
OWN = "environments_app.authentication.passkeys.require_own"
# Who acts, the function that asks, and what makes the act: for a stale session nothing of it is done.
ACTS: list[tuple[str, str, Callable[[Cast], Any]]] = [
    ("alice", OWN, lambda cast: partial(own(cast, passkeys.begin_registration), party=PARTY)),
    ("alice", OWN, lambda cast: partial(
        own(cast, passkeys.register), name="key", credential="", challenge=b"", party=PARTY)),
    ("alice", OWN, lambda cast: partial(own(cast, passkeys.remove_passkey), uuid=str(uuid4()))),
    ("alice", OWN, lambda cast: partial(own(cast, connected.connect), offered=offered())),
    ("alice", OWN, lambda cast: partial(
        own(cast, connected.disconnect), uuid=str(uuid4()), subject=None, except_key="")),
    ("alice", OWN, lambda cast: own(cast, second_factor.begin)),
    ("alice", OWN, lambda cast: own(cast, second_factor.pending)),
    ("alice", OWN, lambda cast: partial(own(cast, second_factor.enrol), code="123456")),
    ("alice", OWN, lambda cast: own(cast, second_factor.renew_recovery_codes)),
    ("root", "environments_app.authentication.second_factor.remove", lambda cast: own(cast, second_factor.remove)),
    ("alice", GRANT, lambda cast: partial(
        memberships.grant, environment=cast.development, user=cast.charlie, role="reader")),
    ("alice", GRANT, lambda cast: partial(
        memberships.change_membership, membership=Membership.objects.get(user=cast.vera), role="reader")),
    ("alice", GRANT, request),
    ("root", GRANT, reading_group),
    ("root", "environments_app.event_sinks.create_sink", lambda _cast: partial(
        event_sinks.create_sink, name="corp", address="https://siem.example/", secret="s")),
    ("root", "environments_app.event_sinks.change_sink", lambda cast: partial(
        event_sinks.change_sink, sink=stored_sink(cast), secret="n")),
    ("root", "environments_app.event_sinks.remove_sink", lambda cast: partial(
        event_sinks.remove_sink, sink=stored_sink(cast))),
    ("root", "environments_app.event_sinks.skip_event", lambda _cast: partial(
        event_sinks.skip_event, sink=SinkState.objects.create(name="events:x"))),
    ("root", "environments_app.oidc.providers.create_provider", lambda _cast: partial(
        providers.create_provider, slug="acme", issuer="http://127.0.0.1:1", secret="s", label="A", client_id="k")),
    ("root", "environments_app.oidc.providers.change_provider", lambda _cast: partial(
        providers.change_provider, provider=stored_provider(), label="B")),
    ("root", "environments_app.single_sign_on.group_mapping.map_group", lambda cast: partial(
        group_mapping.map_group, group="staff", environment=None, role="auditor")),
    ("root", "environments_app.single_sign_on.group_mapping.map_group", lambda cast: partial(
        group_mapping.map_group, group="staff", environment=cast.development, role="viewer")),
    ("alice", "environments_app.tokens.personal.new_token", lambda cast: partial(
        personal.issue_personal, name="laptop")),
    ("alice", "environments_app.tokens.rotation.rotate", viewers_token),
    ("root", "environments_app.tokens.scim_clients._require", lambda _cast: partial(
        scim_clients.add_client, name="Okta", preset="okta")),
    ("root", "environments_app.tokens.scim_clients._require", lambda _cast: partial(
        scim_clients.issue_client_token, client=stored_client())),
    ("root", "environments_app.tokens.scim_clients._require", lambda _cast: partial(
        scim_clients.remove_client, client=stored_client())),
    ("alice", "environments_app.tokens.service.issue", lambda cast: partial(
        tokens.issue, environment=cast.development, role="viewer", name="ci")),
    ("root", "environments_app.tokens.service.issue", lambda cast: partial(
        tokens.issue, environment=None, role="admin", name="ci")),
    ("alice", "environments_app.trusts.service.change", viewers_trust),
    ("root", "environments_app.users.handing_over.require_may_hand_over", lambda cast: partial(
        handing_over.hand_over, user=cast.bob, client=stored_client(), external_id="00u1", user_name="bob@x.y")),
    ("alice", "environments_app.trusts.service.change", readers_trust),
    ("alice", "environments_app.trusts.service.create", new_trust),
    ("alice", "environments_app.environments.deletion.delete_environment", lambda cast: partial(
        deletion.delete_environment, environment=cast.development)),
    ("alice", "environments_app.environments.deletion.restore_environment", lambda cast: partial(
        deletion.restore_environment, environment=deletion.delete_environment(
            actor=cast.principal(cast.alice), environment=cast.development))),
    ("root", "environments_app.users.accounts.create_user", lambda cast: partial(
        accounts.create_user, username="dora")),
    ("root", "environments_app.users.accounts.restore_account", lambda cast: partial(
        accounts.restore_account, user=cast.bob, role="user", password=PASSWORD)),
    ("root", "environments_app.users.accounts.set_password", lambda cast: partial(
        accounts.set_password, user=cast.bob, password=PASSWORD)),
    ("root", "environments_app.users.accounts.update_user", lambda cast: partial(
        accounts.update_user, user=cast.bob, role="admin")),
    ("alice", "environments_app.users.password_links.choose_reset", lambda cast: partial(
        password_links.choose_reset, user=cast.alice, allowed=True)),
    ("root", "environments_app.users.password_links.invite", lambda cast: partial(
        password_links.invite, user=cast.bob)),
    ("alice", "environments_app.users.suspensions._require_person", lambda cast: partial(
        suspensions.confirm_account, environment=cast.development, user=cast.bob, since=None)),
    ("root", "operations_app.backup.requests.open_sealed", lambda _: partial(
        backups.open_sealed, name="none.kbk")),
    ("root", "operations_app.backup.restore.release", lambda _: partial(
        restore.release, kind="service-token", uuid=uuid4())),
    ("root", "operations_app.system.schedules.request_run", lambda _: partial(
        schedules.request_run, name="prune-trail")),
    ("root", "operations_app.system.schedules.request_run", lambda _: partial(
        schedules.request_run, name="purge-deleted")),
    ("root", "secrets_app.departures.decisions.continue_rotations", lambda cast: partial(
        departures.continue_rotations, departure=Departure.objects.create(
            user=cast.bob, kind="left", ended_by_kind="token", ended_by_uuid=uuid4(), ended_by_name="Okta"))),
    ("root", "secrets_app.departures.ending.end_person", lambda cast: partial(offboard, user=cast.bob)),
    ("root", "secrets_app.key_operations.jobs.request", lambda _: partial(jobs.request, kind="rewrap")),
    ("bob", "secrets_app.queries.states.is_unchanged", lambda _: partial(
        states.is_unchanged, state="a", known='"a"', kind="manifest")),
    ("bob", "secrets_app.services.outside.share_outside", shared),
    ("bob", "secrets_app.services.emergency.read_in_emergency", emergency_read),
    ("bob", "secrets_app.services.read._from_rows", rows),
    ("bob", "secrets_app.services.read._from_snapshot", snapshot),
]  # fmt: skip


@pytest.mark.parametrize(
    ("who", "asks", "make"), ACTS, ids=[f"{number}-{asks}" for number, (_, asks, _) in enumerate(ACTS)]
)
def test_a_session_that_was_left_open_is_asked_first(
    cast: Cast, who: str, asks: str, make: Callable[[Cast], Any]
) -> None:
    act = make(cast)
    before = AuditEvent.objects.count()
    with pytest.raises(ConfirmationNeeded) as refusal:
        act(actor=replace(cast.principal(getattr(cast, who)), confirmed=False))
    asking = refusal.traceback[-2]
    assert f"{_module(Path(asking.path))}.{asking.name}" == asks
    assert AuditEvent.objects.count() == before


def test_every_use_case_that_asks_is_played() -> None:
    assert {asks for _, asks, _ in ACTS} == {
        f"{_module(path)}.{function.name}"
        for app in APPS
        for path in (ROOT / app).rglob("*.py")
        if "tests" not in path.parts and "require_confirmed(" in path.read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        if any(
            isinstance(each, ast.Call) and ast.unparse(each.func) == "require_confirmed"
            for each in ast.walk(function)
        )
    }


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)
