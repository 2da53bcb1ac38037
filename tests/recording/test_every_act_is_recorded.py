"""Every act leaves its event: routes and pages that nothing else carries out, use cases, commands, tasks.

What the matrices of rights carry out is held against the trail there (test_access_matrix.py, test_page_matrix.py); this
does the rest, and fails where an act has no entry in the table (recorded.py).
"""

import re
import time
from base64 import b32decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import unescape
from pathlib import Path
from typing import Any, Final

import pytest
from celery import current_app
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone
from django_otp.oath import hotp
from pytest_django import Settings

from audit_app.events.actors import system
from audit_app.integrity.active_installation import note_restore
from environments_app.approvals import service as approvals
from environments_app.authentication import passkeys, second_factor
from environments_app.environments import memberships, restore_suspension
from environments_app.models import Approval, ReviewItem, User
from environments_app.reviews import decisions
from environments_app.reviews.population import key_of, lines_for
from environments_app.sessions.store import stored_key
from environments_app.tests.authenticator import Authenticator
from environments_app.tests.cast import PASSWORD, Cast, user_with_password
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from operations_app.backup import service as backup
from secrets_app.importing.formats.registry import parse
from secrets_app.importing.plan import plan_import
from secrets_app.models import Proof
from secrets_app.services import write
from secrets_app.services.outside import share_outside
from secrets_app.services.read import reveal
from secrets_app.services.share import share_once
from secrets_app.types.registry import SecretType
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import Migration
from sync_app.targets import service as targets
from sync_app.tests.shown import make_entry, make_item, make_plan, make_target
from tests import recorded
from tests.access.access_scene import Scene, patterns, scenes
from tests.access.test_access_matrix import api_routes
from tests.access.test_page_matrix import RULES, page_path
from tests.recording.call_graph import functions, leads_to
from tests.servers.fixtures import openbao

__all__ = ["openbao"]


@dataclass
class Ask:
    """A request that is to succeed, and who makes it."""

    path: str
    body: dict[str, Any]
    client: Client
    actor: str = "alice"
    method: str = "POST"


class Stage:
    """What the acts are made on: the matrices' scenes, and browsers."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.scene = scenes(cast)

    def browser(self, user: User) -> Client:
        client = Client()
        client.force_login(user, backend="environments_app.users.password_backend.LocalBackend")
        return client

    def page(self, name: str, body: dict[str, Any] | None = None, *, query: str = "", **changes: Any) -> Ask:
        """Return alice's POST of a page about a fresh scene; texts in the body may name parts of it."""
        return self.page_of(self.scene(name), name, body, query=query, **changes)

    def page_of(
        self,
        place: Scene,
        name: str,
        body: dict[str, Any] | None = None,
        *,
        query: str = "",
        user: User | None = None,
    ) -> Ask:
        who = user or self.cast.alice
        filled = {
            key: place.environment.name if text == "{place}" else text for key, text in (body or {}).items()
        }
        return Ask(page_path(place, name) + query, filled, self.browser(who), who.username)

    def api_of(
        self,
        place: Scene,
        route: str,
        body: dict[str, Any],
        *,
        user: User | None = None,
        method: str = "POST",
    ) -> Ask:
        who = user or self.cast.alice
        return Ask(place.path(route), body, self.browser(who), who.username, method)


Make = Callable[[Stage], Ask]
SECRET: Final = {"environment": "{place}", "name": "part/new", "secret_type": "TEXT", "value": "v"}


def _shared(stage: Stage, name: str) -> Ask:
    place = stage.scene(name)
    share, link = share_once(actor=stage.cast.principal(stage.cast.alice), secret=place.secret)
    path = (
        reverse("share", args=[link]) if name == "share" else reverse(name, args=[place.secret.pk, share.pk])
    )
    return Ask(path, {}, stage.browser(stage.cast.alice))


def _opened_outside(stage: Stage) -> Ask:
    place = stage.scene("secret-new")
    place.environment.outside_hours = 1
    place.environment.save()
    actor = stage.cast.principal(stage.cast.alice)
    made = share_outside(actor=actor, secret=place.secret, proof=Proof.PHRASE, hours=1)
    body = {"code": made.link, "act": "open", "proof": made.phrase}
    return Ask(reverse("share-outside"), body, Client(), "anonymous")


def _compared_across(stage: Stage) -> Ask:
    for _ in range(2):
        stage.scene("secret-new")
    return Ask(reverse("secret-matrix"), {}, stage.browser(stage.cast.alice))


def _row_written(stage: Stage) -> Ask:
    place = stage.scene("secret-new").environment
    body = {"name": "A", f"value-{place.name}": "b"}
    return Ask(reverse("secret-row"), body, stage.browser(stage.cast.alice))


def _imported(stage: Stage) -> Ask:
    place = stage.scene("secret-new")
    plan = plan_import(
        actor=stage.cast.principal(stage.cast.alice),
        environment=place.environment,
        entries=parse("dotenv", "A=b"),
        keep_existing=False,
    )
    body = {
        "environment": "{place}",
        "text": "A=b",
        "format": "dotenv",
        "act": "import",
        "digest": plan.digest,
    }
    return stage.page_of(place, "secret-import", body)


def _exposed(stage: Stage, *, api: bool) -> Ask:
    place = stage.scene("rotation-rotate")
    memberships.grant(
        actor=stage.cast.principal(stage.cast.alice),
        environment=place.environment,
        user=stage.cast.bob,
        role="reader",
    )
    reveal(actor=stage.cast.principal(stage.cast.bob), secret=place.secret)
    if api:
        return stage.api_of(place, "api-exposure", {"who": "bob", "confirm": "bob"})
    return stage.page_of(place, "exposure", {"who": "bob", "typed": "bob"})


SECRETS: Final[dict[tuple[str, str], Make]] = {
    ("secret-new", "POST"): lambda stage: stage.page("secret-new", SECRET),
    ("secret-import", "POST"): _imported,
    ("secret-export", "POST"): lambda stage: stage.page(
        "secret-export", {"environment": "{place}", "format": "dotenv"}
    ),
    ("secret-matrix", "POST"): _compared_across,
    ("secret-row", "POST"): _row_written,
    ("secret-share", "POST"): lambda stage: stage.page("secret-share", {"hours": "24"}),
    ("share-revoke", "POST"): lambda stage: _shared(stage, "share-revoke"),
    ("share", "POST"): lambda stage: _shared(stage, "share"),
    ("share-outside", "POST"): _opened_outside,
    ("api-exposure", "POST"): lambda stage: _exposed(stage, api=True),
    ("exposure", "POST"): lambda stage: _exposed(stage, api=False),
}


def _signing_in(stage: Stage) -> Ask:
    return Ask(reverse("sign-in"), {"username": "alice", "password": PASSWORD}, Client())


def _code(secret: str, ahead: int = 0) -> str:
    return f"{hotp(b32decode(secret), int(time.time()) // 30 + ahead):06d}"


def _begun(stage: Stage, name: str, *, enrolled: bool) -> Ask:
    user = user_with_password(f"person-of-{name}")
    actor = stage.cast.principal(user)
    secret = second_factor.begin(actor=actor, user=user).secret
    if enrolled:
        second_factor.enrol(actor=actor, user=user, code=_code(secret))
    user.refresh_from_db()
    if name == "sign-in-code":
        client = Client()
        client.post(reverse("sign-in"), {"username": user.username, "password": PASSWORD})
        return Ask(reverse(name), {"code": _code(secret, 1)}, client, user.username)
    return Ask(reverse(name), {"code": _code(secret)}, stage.browser(user), user.username)


def _passkey(stage: Stage, name: str) -> Ask:
    user = user_with_password(f"person-of-{name}")
    actor = stage.cast.principal(user)
    second_factor.enrol(
        actor=actor, user=user, code=_code(second_factor.begin(actor=actor, user=user).secret)
    )
    user.refresh_from_db()
    if name == "passkey-register":
        browser = stage.browser(user)
        page = browser.post(reverse("passkey-start")).content.decode()
        asked = unescape(re.findall('data-passkey-create="([^"]*)"', page)[0])
        made = {"name": "Laptop", "passkey": Authenticator().create(asked)}
        return Ask(reverse(name), made, browser, user.username)
    party = passkeys.RelyingParty(host="testserver", origin="http://testserver")
    begun, device = passkeys.begin_registration(actor=actor, user=user, party=party), Authenticator()
    passkey = passkeys.register(
        actor=actor, user=user, name="Laptop", credential=device.create(begun.options),
        challenge=begun.challenge, party=party,
    )  # fmt: skip
    if name == "sign-in-passkey":
        client = Client()
        page = client.get(reverse("sign-in")).content.decode()
        asked, challenge = (
            unescape(re.findall(f'{attribute}="([^"]*)"', page)[0])
            for attribute in ("data-passkey-get", 'name="challenge" value')
        )
        answer = {"passkey": device.get(asked), "challenge": challenge}
        return Ask(reverse(name), answer, client, user.username)
    return Ask(reverse(name), {"passkey": str(passkey.uuid)}, stage.browser(user), user.username)


def _other_session(stage: Stage) -> Ask:
    other = stage.browser(stage.cast.alice)
    key = stored_key(other.session.session_key or "")
    return Ask(reverse("session-end"), {"session": key}, stage.browser(stage.cast.alice))


def _suspended(stage: Stage, name: str) -> Ask:
    place = stage.scene(name)
    bob = stage.cast.bob
    memberships.grant(
        actor=stage.cast.principal(stage.cast.alice), environment=place.environment, user=bob, role="reader"
    )
    bob.suspended_at = timezone.now()
    bob.save()
    since = bob.suspended_at.isoformat()
    if name.startswith("api-"):
        return stage.api_of(place, name, {"suspended_at": since})
    return stage.page_of(place, name, {"user": "bob", "since": since})


def _workload(stage: Stage) -> Ask:
    issuer = Issuer()
    trust = make_trust(stage.cast, issuer)
    body = {"trust": trust.name, "jwt": issuer.sign()}
    return Ask(reverse("api-workload-sign-in"), body, Client(), trust.name)


def _own_approval(
    stage: Stage, name: str, body: dict[str, Any], *, approved: bool = False, method: str = "POST"
) -> Ask:
    place = stage.scene(name)
    if approved:
        found = Approval.objects.select_related("environment").get(pk=place.approval_id)
        approvals.approve(actor=stage.cast.principal(stage.cast.root), approval=found)
        place.environment.protected = True
        place.environment.save()
    if name.startswith("api-"):
        return stage.api_of(place, name, body, method=method)
    return stage.page_of(place, name, body)


def _own_request(stage: Stage, name: str) -> Ask:
    place = stage.scene(name)
    if name.startswith("api-"):
        return stage.api_of(place, name, {}, user=stage.cast.bob)
    return stage.page_of(place, name, {}, user=stage.cast.bob)


def _reviewed(stage: Stage, name: str) -> Ask:
    """Return a decision about an entry, or the end of a review in which all is decided."""
    place, root = stage.scene(name), stage.cast.root
    items = ReviewItem.objects.filter(review_id=place.review_id).select_related("review")
    states = {item.pk: lines_for([item])[key_of(item)].state for item in items}
    user, body = root, {"decision": "keep", "reason": "needed"}
    if name.endswith("sign"):
        for item in items:
            decisions.decide(
                actor=stage.cast.principal(root), item=item, decision="keep", state=states[item.pk],
                reason="needed",
            )  # fmt: skip
        user, body = user_with_password(f"auditor-{place.review_id}", role="auditor"), {}
    elif name.startswith("api-"):
        body["state"] = states[place.review_item_id]
    else:
        body["item"] = f"{place.review_item_id}:{states[place.review_item_id]}"
    if name.startswith("api-"):
        return stage.api_of(place, name, body, user=user)
    return stage.page_of(place, name, body, user=user)


PEOPLE: Final[dict[tuple[str, str], Make]] = {
    ("api-review-decide", "POST"): lambda stage: _reviewed(stage, "api-review-decide"),
    ("review-decide", "POST"): lambda stage: _reviewed(stage, "review-decide"),
    ("api-review-sign", "POST"): lambda stage: _reviewed(stage, "api-review-sign"),
    ("review-sign", "POST"): lambda stage: _reviewed(stage, "review-sign"),
    ("sign-in", "POST"): _signing_in,
    ("sign-out", "POST"): lambda stage: Ask(reverse("sign-out"), {}, stage.browser(stage.cast.alice)),
    ("confirm", "POST"): lambda stage: Ask(
        reverse("confirm"), {"password": PASSWORD}, stage.browser(stage.cast.alice)
    ),
    ("session-end", "POST"): _other_session,
    ("access-confirm", "POST"): lambda stage: _suspended(stage, "access-confirm"),
    ("api-workload-sign-in", "POST"): _workload,
    ("api-suspended-account", "POST"): lambda stage: _suspended(stage, "api-suspended-account"),
    ("api-suspended-mapping", "POST"): lambda stage: stage.api_of(
        stage.scene("api-suspended-mapping"), "api-suspended-mapping", {}
    ),
    ("approval-withdraw", "POST"): lambda stage: _own_approval(stage, "approval-withdraw", {}),
    ("approval-explain", "POST"): lambda stage: _own_approval(
        stage, "approval-explain", {"reason": "because"}
    ),
    ("approval-carry-out", "POST"): lambda stage: _own_approval(
        stage, "approval-carry-out", {}, approved=True
    ),
    ("api-approval", "PATCH"): lambda stage: _own_approval(
        stage, "api-approval", {"reason": "because"}, method="PATCH"
    ),
    ("api-approval-withdraw", "POST"): lambda stage: _own_approval(stage, "api-approval-withdraw", {}),
    ("api-approval-carry-out", "POST"): lambda stage: _own_approval(
        stage, "api-approval-carry-out", {}, approved=True
    ),
    ("api-access-request-withdraw", "POST"): lambda stage: _own_request(stage, "api-access-request-withdraw"),
    ("access-request-withdraw", "POST"): lambda stage: _own_request(stage, "access-request-withdraw"),
    ("second-factor-enrol", "POST"): lambda stage: _begun(stage, "second-factor-enrol", enrolled=False),
    ("second-factor-codes", "POST"): lambda stage: _begun(stage, "second-factor-codes", enrolled=True),
    ("sign-in-code", "POST"): lambda stage: _begun(stage, "sign-in-code", enrolled=True),
    ("second-factor-remove", "POST"): lambda stage: _begun(stage, "second-factor-remove", enrolled=True),
    ("sign-in-passkey", "POST"): lambda stage: _passkey(stage, "sign-in-passkey"),
    ("passkey-register", "POST"): lambda stage: _passkey(stage, "passkey-register"),
    ("passkey-remove", "POST"): lambda stage: _passkey(stage, "passkey-remove"),
}


def _consent(stage: Stage, name: str) -> Ask:
    place = stage.scene(name)
    target = make_target(
        stage.cast.production, name=f"for-{place.environment.pk}", place=f"for-{place.environment.pk}"
    )
    body = {"target": f"production/{target.name}"}
    return stage.api_of(place, name, body) if name.startswith("api-") else stage.page_of(place, name, body)


def _members(stage: Stage, name: str) -> Ask:
    """Return the question which members an update touches, of an update that has some."""
    place = stage.scene(name)
    for value in ('{"old": 1}', '{"new": 1}'):
        secret, _ = write.put(
            actor=stage.cast.principal(stage.cast.alice),
            environment=place.environment,
            name="part/members",
            secret_type=SecretType.JSON,
            value=value,
        )
    first, second = secret.versions.order_by("number")
    plan = make_plan(make_target(place.environment, name="members", place="members"))
    make_entry(plan.target, secret, "pending", base_keeper=first.uuid.hex, base_target="4")
    item = make_item(
        plan, secret.name, "update", keeper_version=second.uuid.hex, keeper_number=2, target_version="4"
    )
    place.plan_id, place.item_id = plan.pk, item.pk
    return stage.api_of(place, name, {}) if name.startswith("api-") else stage.page_of(place, name, {})


CADENCE: Final = {"interval_seconds": "86400", "time_zone": "UTC", "grace_seconds": "3600"}
GENERATED: Final = {"setting-kind": "password", "setting-option-password-lowercase": "on"}


def _migration(stage: Stage, name: str) -> Ask:
    """Return the start of a migration, or the end of one that was started."""
    place = stage.scene("secret-new")
    path = f"{reverse('migration-new')}?source=vault"
    form = {
        "setting-address": "https://vault.example",
        "credential-token": "t",
        "rules": f"secret={place.environment.name}",
    }
    if name == "migration-act":
        stage.browser(stage.cast.alice).post(path, form)
        path, form = reverse(name, args=[Migration.objects.latest("id").pk, "stop"]), {}
    return Ask(path, form, stage.browser(stage.cast.alice), "alice")


SYNC: Final[dict[tuple[str, str], Make]] = {
    ("migration-new", "POST"): lambda stage: _migration(stage, "migration-new"),
    ("migration-act", "POST"): lambda stage: _migration(stage, "migration-act"),
    ("target-adopt", "POST"): lambda stage: stage.page(
        "target-adopt", {"mode": "replace", "names": ["part/key"]}
    ),
    ("target-disconnect", "POST"): lambda stage: stage.page("target-disconnect", {"mode": "leave"}),
    ("plan-item-members", "POST"): lambda stage: _members(stage, "plan-item-members"),
    ("api-plan-members", "POST"): lambda stage: _members(stage, "api-plan-members"),
    ("consent-give", "POST"): lambda stage: _consent(stage, "consent-give"),
    ("api-consents", "POST"): lambda stage: _consent(stage, "api-consents"),
    ("rotation-new", "POST"): lambda stage: stage.page(
        "rotation-new", CADENCE | GENERATED, query="?rotator=generated"
    ),
    ("rotation-rules", "POST"): lambda stage: stage.page("rotation-rules", CADENCE),
    ("rotation-connection", "POST"): lambda stage: stage.page("rotation-connection", GENERATED),
}


def _new_target(stage: Stage, world: VaultWorld, name: str) -> Ask:
    """Return the creation, or the trying, of a target in a real system; or new credentials of one."""
    place = stage.scene("secret-new")
    if "credentials" in name:
        made = targets.create(
            actor=stage.cast.principal(stage.cast.alice),
            environment=place.environment,
            name="standing",
            backend="vault_kv2",
            destination=world.destination,
            credentials=world.credentials,
        )
        place.target_id = made.pk
    if name.startswith("api-"):
        body = {
            "name": "new",
            "backend": "vault_kv2",
            "destination": world.destination,
            "credentials": world.credentials,
        }
        wanted = (
            {"credentials"} if "credentials" in name else set(body) - ({"name"} if "test" in name else set())
        )
        return stage.api_of(place, name, {key: value for key, value in body.items() if key in wanted})
    form = {
        **RULES,
        "environment": "{place}",
        "name": "new",
        **{f"destination-{key}": text for key, text in world.destination.items()},
        **{f"credential-{key}": text for key, text in world.credentials.items()},
    }
    return stage.page_of(place, name, form, query="?backend=vault_kv2" if name == "target-new" else "")


TARGETS: Final = (
    ("target-new", "POST"),
    ("target-credentials", "POST"),
    ("api-targets", "POST"),
    ("api-targets-test", "POST"),
    ("api-target-credentials", "POST"),
)
OPERATING: Final = (("backups", "POST"), ("restore-release", "POST"))


def flaws(key: tuple[str, str], ask: Ask) -> list[str]:
    """Carry an act out and return what is wrong with it, or with what it left."""
    expected = (recorded.API | recorded.PAGES)[key]
    options = {"content_type": "application/json"} if key[0].startswith("api-") else {}
    with recorded.watching() as seen:
        response: Any = getattr(ask.client, ask.method.lower())(ask.path, ask.body, **options)
        text = response.content.decode()
    if response.status_code >= 400:
        return [f"{response.status_code}: {text[-2000:]}"]
    return recorded.flaws(seen, response, text, name=key[0], actor=ask.actor, expected=expected)


@pytest.fixture
def stage(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(current_app, "send_task", lambda *_, **__: None)
    return Stage(cast)


@pytest.mark.parametrize("acts", [SECRETS, PEOPLE, SYNC], ids=["secrets", "people", "sync"])
def test_what_the_matrices_only_refuse_leaves_its_event(
    stage: Stage, acts: dict[tuple[str, str], Make]
) -> None:
    found = {key: flaws(key, make(stage)) for key, make in acts.items()}
    assert {key: told for key, told in found.items() if told} == {}


def test_targets_in_another_system_leave_their_events(
    stage: Stage, openbao: tuple[str, str], settings: Settings
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    found = {key: flaws(key, _new_target(stage, VaultWorld(*openbao), key[0])) for key in TARGETS}
    assert {key: told for key, told in found.items() if told} == {}


def test_what_operators_do_leaves_its_event(stage: Stage, settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_BACKUP_DIR = str(tmp_path)
    root, place = stage.cast.root, stage.scene("secret-new")
    assert backup.make(actor=stage.cast.principal(root))
    (kept,) = backup.list_backups(actor=stage.cast.principal(root))
    at = timezone.now()
    note_restore(backup=kept.backup, at=at)
    restore_suspension.MEMBERSHIPS.suspend(actor=system(), at=at, states={})
    release = {"kind": "membership", "uuid": place.member.uuid}
    asked = {
        ("backups", "POST"): (reverse("backups"), {"backup": kept.name}),
        ("restore-release", "POST"): (reverse("restore-release", kwargs=release), {}),
    }
    found = {key: flaws(key, Ask(*sent, stage.browser(root), "root")) for key, sent in asked.items()}
    assert {key: told for key, told in found.items() if told} == {}


def test_whatever_can_be_done_has_its_entry() -> None:
    acts = {(name, method) for name, methods in api_routes().items() for method in methods - {"GET"}}
    assert acts == {key for key in recorded.API if key[1] != "GET"}
    assert set(_posting_pages()) == {name for name, method in recorded.PAGES if method == "POST"}
    driven = [*SECRETS, *PEOPLE, *SYNC, *TARGETS, *OPERATING]
    assert sorted(driven) == sorted(recorded.DRIVEN)


def _posting_pages() -> Iterator[str]:
    for path, pattern in patterns(get_resolver().url_patterns):
        # The KV v2-compatible, AWS-compatible and SCIM APIs have tests of their own, and call the same use cases.
        if not path.startswith(
            ("api/", "admin/", "static/", "vault/", "aws", "scim/")
        ) and "POST" in _methods(pattern.callback):
            yield str(pattern.name)


def _methods(view: Any) -> set[str]:
    """Return the methods that the decorators of a page let through; one without any takes all."""
    for cell in getattr(view, "__closure__", None) or ():
        held = cell.cell_contents
        if isinstance(held, list | tuple | set) and held and set(held) <= {"GET", "HEAD", "POST"}:
            return set(held)
        if callable(held) and (found := _methods(held)) != {"POST"} | {"any"}:
            return found
    inner = getattr(view, "__wrapped__", None)
    return _methods(inner) if inner else {"POST", "any"}


# --- Use cases, commands and tasks, by the source ---------------------------------------------------

RECORDING: Final = {
    f"audit_app.recording.recorder.{name}"
    for name in ("record", "record_many", "commit_record", "commit_records")
}
# These record what went wrong on the way, or that somebody asked; not that it was done.
BESIDE: Final = frozenset(
    {
        "audit_app.integrity.row_authentication.record_integrity_violation",
        "environments_app.authorization.policy.record_denial",
        "environments_app.approvals.gate._ask",
        "secrets_app.services.read._record_failure",
        # A key is made for whatever is sealed first; that is no record of what was sealed.
        "secrets_app.keys.wrapping.record_creation",
    }
)
_SHOWS: Final = "it finds or shows names and states, and no value"
_ASKS: Final = "it asks whether one may, and writes nothing; a refusal is recorded"
_PART: Final = "it does a part of what a use case does, which records it"
_CHOSEN: Final = "it hands over to a use case that a table names, which records"
# What takes an actor and records nothing: patterns of names, each with its reason.
SILENT: Final[dict[str, str]] = {
    "*.find_*": _SHOWS,
    "*.visible*": _SHOWS,
    "*.waiting*": _SHOWS,
    "*.place_of": _SHOWS,
    "gateway_app.kv2.mounts.*": _SHOWS,
    "*.*_for": _SHOWS,
    "*.own_requests": _SHOWS,
    "*.open_requests": _SHOWS,
    "environments_app.reviews.reviewers.why_not_reviewer": _ASKS,
    "environments_app.reviews.service.why_not_signer": _ASKS,
    "environments_app.reviews.service.filtered": _SHOWS,
    "environments_app.reviews.service.without_reviewer": _SHOWS,
    "environments_app.sessions.service.lock_*": "the act inside records itself, and a refusal is recorded",
    "environments_app.sessions.service.refuse_late": "it records the refusal of the act inside",
    "environments_app.sessions.service.require_still": _ASKS,
    "environments_app.sessions.service.own_ids": _ASKS,
    "environments_app.users.invitations.check_offer": "the event of the invitation has what is offered",
    "environments_app.users.invitations.kept": "the event of the invitation has what is offered",
    "*.offline_seconds": _SHOWS,
    "sync_app.targets.lookup.*": _SHOWS,
    "secrets_app.queries.lookup.count_by_environment": _SHOWS,
    "*.panel": _SHOWS,
    "sync_app.migration.mounts.rules_of": _SHOWS,
    "sync_app.migration.mounts.rule_changes": _SHOWS,
    "sync_app.migration.mounts.make_rules": "service.finish_apply records them in the same transaction",
    "sync_app.migration.service.choose": "the event of the application has what was chosen",
    "*.panels_of": _SHOWS,
    "*.cells": _SHOWS,
    "*.cells_of": _SHOWS,
    "*.rights": _SHOWS,
    "*.explain_access": _SHOWS,
    "*.explain_all_access": _SHOWS,
    "environments_app.reviews.coverage.without_access": _SHOWS,
    "sync_app.rotation.impact.impact_of": _SHOWS,
    "secrets_app.services.usage.sees_everyone": _ASKS,
    "*.preview": _SHOWS,
    "*.attention": _SHOWS,
    "*.environments_for_new_targets": _SHOWS,
    "*.named_streams": _SHOWS,
    "*.own_events": _SHOWS,
    "*.token_behind": _SHOWS,
    "*.scim_clients.client_of": _SHOWS,
    "*.scim_clients.provisioning": _PART,
    "*.readable_streams": _SHOWS,
    "*.seen_by": _SHOWS,
    "environments_app.single_sign_on.group_mapping.*": _SHOWS,
    "*.list_backups": _SHOWS,
    "*.changed_since": _SHOWS,
    "*.offered": _SHOWS,
    "*.list_row": _SHOWS,
    "*.matching_secrets": _SHOWS,
    "secrets_app.queries.states.*": _SHOWS,
    "gateway_app.engine.reads.known_state": _SHOWS,
    "*.changed_names": _SHOWS,
    "*.readers": _SHOWS,
    "*.pending_about": _SHOWS,
    "*.last_verification": _SHOWS,
    "secrets_app.queries.browsing.*": "which secrets a person keeps at hand is theirs",
    "*.describe_overlap": _SHOWS,
    "audit_app.queries.search.events": _SHOWS,
    "audit_app.queries.search.goes_by_index": _SHOWS,
    "operations_app.dashboard.*": _SHOWS,
    "operations_app.health.status.standings": _SHOWS,
    "*.listed_tokens": _SHOWS,
    "*.acting_user": _SHOWS,
    "*.person_behind": _SHOWS,
    "*.refresh_principal": _SHOWS,
    "environments_app.environments.memberships.note_move*": "the loss of access is recorded where it happened",
    "*.history.approved_by": _SHOWS,
    "*.browsing.recent": _SHOWS,
    "*.load_principal": _SHOWS,
    "operations_app.inbox.*": _SHOWS,
    "*.preferences.settings_of": _SHOWS,
    "*.preferences.mark_seen": "what a person has seen of their notices is theirs",
    "*.preferences.choose_matrix": "which environments a person compares is theirs",
    "*.preferences.choose_time_zone": "how a person's own pages look is theirs",
    "*.preferences.hide_first_steps": "how a person's own page looks is theirs",
    "*.passkeys.begin_registration": "it makes a challenge; nothing is stored",
    "*.device.deny": "the code ends, and nobody gets anything",
    "*.personal.new_token": "it builds what `store_token` stores and records",
    "*.second_factor.pending": "it goes on with what was begun, which was recorded",
    "environments_app.authorization.policy.record_denial": "it records refusals itself",
    "environments_app.reviews.service.refuse": "it records refusals itself",
    "environments_app.authorization.policy.is_suspended": _SHOWS,
    "environments_app.authorization.principals.principal_among_deleted": _SHOWS,
    "environments_app.environments.deletion.deleted_environments": _SHOWS,
    "*.Proposal.message": _PART,
    "*.mark_suspended": _PART,
    "*.history.add": _PART,
    "*.tell_mapped": _PART,
    "secrets_app.rows.store.event": _PART,
    "secrets_app.acts.referring": _SHOWS,
    "secrets_app.rows.references.*": _PART,
    "*.sealed_version": _PART,
    "secrets_app.services.version_stages.prepare": _PART,
    "*.planning.service.new_plan": _PART,
    "*.preconditions.check_preconditions": _PART,
    "*.may_*": _ASKS,
    "*.why_not_approver": _ASKS,
    "*.obstacle": _ASKS,
    "*.custody_of": _ASKS,
    "*.can_in_any_scope": _ASKS,
    "*.environments_where": _ASKS,
    "secrets_app.queries.listed.only_grant": _ASKS,
    "*.require*": _ASKS,
    "*.refuse_*": _ASKS,
    "*.load_approval": _ASKS,
    "*.approval_for_*": _ASKS,
    "*.system_approval": _ASKS,
    "*.needs_second_person": _ASKS,
    "*.unneeded_approval": _ASKS,
    "*.opens_values": _ASKS,
    "*.administers": _ASKS,
    "*.confirm_grant": _ASKS,
    "*.answers": _ASKS,
    "*.can_approve": _ASKS,
    "*.is_approver": _ASKS,
    "*.is_own": _ASKS,
    "*.run_write_guards": _ASKS,
    "secrets_app.queries.filters.narrow": _ASKS,
    "secrets_app.queries.last_asked.*": "no value left: that it was asked for is noted apart from the log",
    "*ApprovalExecutor.carry_out": _CHOSEN,
    "environments_app.interfaces.*": _CHOSEN,
    "secrets_app.services.bulk_actions.execute": _CHOSEN,
    "environments_app.admin.base.*": _CHOSEN,
    "environments_app.authorization.act.Act.*": _CHOSEN,
    "operations_app.backup.restore.release": _CHOSEN,
}
# Commands and tasks that record nothing, each with its reason.
SILENT_WORK: Final = {
    "operations_app.management.commands.status": "it only reads",
    "operations_app.management.commands.check_upgrade": "it only reads",
    "operations_app.management.commands.alerts": "it only reads",
    "operations_app.management.commands.settings": "it only reads",
    "audit_app.management.commands.audit_search": "it derives rows from events, for the search alone",
    "audit_app.management.commands.audit_usage": "it counts events, for pages alone",
    "operations_app.management.commands.release": _CHOSEN,
    "keeper_project.management.commands.reset_db": "it leaves no trail to record in",
    "audit_app.tasks.deliver_checkpoints": "what it hands on is the record",
    "audit_app.tasks.index_events": "it derives rows from events, for the search alone",
    "audit_app.tasks.stream_events": "what it hands on is the record",
    "environments_app.tasks.tell_of_tokens": "it stores messages to be sent, and changes nothing",
    "environments_app.tasks.purge_saml_assertions": "it forgets ids that have expired",
    "operations_app.tasks.beat_heartbeat": "it shows that it runs",
    "environments_app.tasks.end_sessions_of_other_clocks": "it deletes sessions that are not open",
    "operations_app.tasks.clear_sessions": "it forgets sessions that have ended",
    "secrets_app.tasks.run_key_jobs": _CHOSEN,
    "secrets_app.tasks.send_share_codes": "the request for the code is recorded",
    "secrets_app.tasks.queue_changes": "it queues messages of recorded changes; each sending is recorded",
    "operations_app.tasks.run_requested_tasks": "the request is recorded, and what runs records itself",
}


def _public(name: str) -> bool:
    return not name.rpartition(".")[2].startswith("_")


def test_every_use_case_records_or_says_why_not() -> None:
    records = leads_to(RECORDING, past=BESIDE)
    silent = [
        name
        for name, each in functions().items()
        if "actor" in each.parameters and _public(name) and name not in records
    ]
    unexplained = [name for name in silent if not any(fnmatchcase(name, known) for known in SILENT)]
    assert unexplained == []
    assert [known for known in SILENT if not any(fnmatchcase(name, known) for name in silent)] == []


def test_every_command_and_task_records_or_says_why_not() -> None:
    records = leads_to(RECORDING, past=BESIDE)
    commands = {
        name.rsplit(".", 2)[0]
        for name in functions()
        if ".management.commands." in name and name.endswith(".handle")
    }
    recording = {name.rsplit(".", 2)[0] for name in records}
    tasks = {name for name, each in functions().items() if "shared_task" in each.decorators}
    assert len(commands) >= 19
    assert len(tasks) >= 20
    assert (commands - recording) | (tasks - records) == SILENT_WORK.keys()


def test_the_walk_misses_what_does_not_record() -> None:
    without = leads_to(RECORDING, past=BESIDE | {"sync_app.targets.service._record"})
    missed = leads_to(RECORDING, past=BESIDE) - without
    assert missed >= {f"sync_app.targets.service.{name}" for name in ("pause", "resume")}
