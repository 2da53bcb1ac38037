"""The objects that the tables of rights are about, and who asks for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import pytest
from django.conf import settings as configured
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from audit_app.events.streams import environment_stream
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent
from environments_app.access_requests import service as access_requests
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal
from environments_app.environments import memberships
from environments_app.errors import ApprovalNeeded
from environments_app.models import (
    Delivery,
    DeliveryState,
    Departure,
    Environment,
    Membership,
    ProgramRelease,
    SamlGroupMapping,
    ScimClient,
    ServiceToken,
    Trust,
    User,
)
from environments_app.notifications.recipients import add_recipient
from environments_app.reviews import service as reviews
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tokens.service import issue, set_secret
from environments_app.trusts import service as trusts
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.models import DepartureValue, Secret
from secrets_app.services.lifecycle import delete
from secrets_app.tests.kept import keep
from secrets_app.webhooks import add_webhook
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.targets import consents
from sync_app.targets import service as targets
from sync_app.tests.shown import make_item, make_plan, make_target

ROLES: Final = ("viewer", "reader", "editor", "manager")
PEOPLE: Final = ("nobody", "outsider", *ROLES, "admin")
DAY_SECONDS: Final = 86_400
# Tokens of the environment in question, of another one, of none, and of a part of it.
CALLERS: Final = (
    "nobody",
    "outsider",
    "manager of another environment",
    "manager of another prefix",
    *ROLES,
    "manager of the prefix",
    "admin token",
    "admin",
)
# By what names the trail knows them; those with a token of the scene are "caller".
ACTORS: Final = {"nobody": None, "outsider": "charlie", "admin": "root"}
OF_NO_POLICY: Final = {"api-rotation-policies", "rotation-new"}
OF_A_ROTATION: Final = {
    "rotation-act",
    "api-rotation",
    *(f"api-rotation-{act}" for act in ("retry", "roll-back", "abandon", "cut-grace", "retire")),
}


def patterns(found: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yield each route with its whole path."""
    for pattern in found:
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns, prefix + str(pattern.pattern))
        else:
            yield prefix + str(pattern.pattern), pattern


@dataclass
class Scene:
    """Fresh objects for one cell of the matrix."""

    cast: Cast
    environment: Environment
    secret: Secret
    member: Membership
    token_id: int
    admin_token_id: int
    mapping_id: int = 987654
    recipient_id: int = 987654
    trust_id: int = 987654
    webhook_id: int = 987654
    message_id: int = 987654
    release_id: int = 987654
    target_id: int = 987654
    consent_id: int = 987654
    plan_id: int = 987654
    item_id: int = 987654
    policy_id: int = 987654
    rotation_id: int = 987654
    approval_id: int = 987654
    request_id: int = 987654
    departure_id: int = 987654
    review_id: int = 987654
    review_item_id: int = 987654
    value_id: int = 987654
    # What callers are known by who are there already: the keys of their sessions, and their tokens.
    sessions: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def event_id(self) -> int:
        """Return the id of an event of the environment."""
        stream = environment_stream(self.environment.uuid)
        return int(AuditEvent.objects.filter(stream=stream).latest("id").pk)

    def path(self, route: str) -> str:
        arguments: dict[str, dict[str, Any]] = {
            "api-version": {"id": self.secret.pk, "number": 1},
            "api-named-secret": {"environment": self.environment.name, "name": self.secret.name},
            "api-export": {"environment": self.environment.name},
            "api-manifest": {"environment": self.environment.name},
            "api-import": {"environment": self.environment.name},
            "api-compare": {"environment": self.environment.name, "other": self.environment.name},
            "api-environment": {"environment": self.environment.name},
            "api-environment-restore": {"environment": self.environment.name},
            "api-members": {"environment": self.environment.name},
            "api-member": {"environment": self.environment.name, "id": self.member.pk},
            "api-tokens": {"environment": self.environment.name},
            "api-token": {"environment": self.environment.name, "id": self.token_id},
            "api-token-rotate": {"environment": self.environment.name, "id": self.token_id},
            "api-trusts": {"environment": self.environment.name},
            "api-trust": {"environment": self.environment.name, "id": self.trust_id},
            "api-trust-test": {"environment": self.environment.name, "id": self.trust_id},
            "api-trust-fetch-keys": {"environment": self.environment.name, "id": self.trust_id},
            "api-workload-sign-in": {},
            "api-admin-token": {"id": self.admin_token_id},
            "api-admin-token-rotate": {"id": self.admin_token_id},
            "api-offboarding": {"username": "newcomer"},
            "api-user-hand-over": {"username": "newcomer"},
            "api-access": {"environment": self.environment.name},
            "api-suspensions": {"environment": self.environment.name},
            "api-suspended-account": {"environment": self.environment.name, "user": "bob"},
            "api-suspended-mapping": {"environment": self.environment.name, "id": self.mapping_id},
            "api-recipients": {"environment": self.environment.name},
            "api-recipient": {"environment": self.environment.name, "id": self.recipient_id},
            "api-recipient-test": {"environment": self.environment.name, "id": self.recipient_id},
            "api-releases": {"environment": self.environment.name},
            "api-release": {"environment": self.environment.name, "id": self.release_id},
            "api-consents": {"environment": self.environment.name},
            "api-deliveries": {"environment": self.environment.name},
            "api-consent": {"environment": self.environment.name, "id": self.consent_id},
            "api-event-items": {"stream": environment_stream(self.environment.uuid), "sequence": 1},
            "api-report": {"key": "access"},
            "api-emergency-read": {"uuid": self.secret.uuid},
            "api-emergency-review": {"uuid": self.secret.uuid},
            "api-review-decide": {"id": self.review_id, "item": self.review_item_id},
            **{f"api-review{name}": {"id": self.review_id} for name in ("", "-items", "-sign", "-cancel")},
            "api-webhooks": {"environment": self.environment.name},
            "api-webhook": {"environment": self.environment.name, "id": self.webhook_id},
            "api-webhook-test": {"environment": self.environment.name, "id": self.webhook_id},
        }
        if route.startswith(("api-target", "api-plan")):
            return self._path_of_target(route)
        if route.startswith("api-rotat"):
            return self._path_of_rotation(route)
        if route.startswith("api-departure"):
            return reverse(route, kwargs=self.of_departure(route))
        if route.startswith("api-approval"):
            return reverse(route, kwargs={} if route == "api-approvals" else {"id": self.approval_id})
        if route.startswith("api-access-request"):
            return reverse(route, kwargs={} if route.endswith("s") else {"id": self.request_id})
        of_secret = route.startswith("api-secret-") or route in {
            "api-secret",
            "api-versions",
            "api-acknowledge",
        }
        return reverse(route, kwargs={"id": self.secret.pk} if of_secret else arguments.get(route, {}))

    def of_departure(self, route: str) -> dict[str, Any]:
        """Return the arguments of an address about departures, of the API or of a page."""
        if route.endswith("departures"):
            return {}
        if "-outlet-" in route:
            return {"id": self.departure_id, "uuid": uuid4()}
        return {"id": self.value_id if "-value-" in route else self.departure_id}

    def _path_of_target(self, route: str) -> str:
        arguments: dict[str, Any] = {"environment": self.environment.name}
        if not route.startswith("api-targets"):
            arguments["id"] = self.plan_id if route.startswith("api-plan") else self.target_id
        if route in {"api-plan-members", "api-plan-resolve"}:
            arguments["item"] = self.item_id
        return reverse(route, kwargs=arguments)

    def _path_of_rotation(self, route: str) -> str:
        arguments: dict[str, Any] = {"environment": self.environment.name}
        if route != "api-rotation-policies":
            arguments["id"] = self.rotation_id if route in OF_A_ROTATION else self.policy_id
        return reverse(route, kwargs=arguments)

    def body(self, template: Any) -> Any:
        if isinstance(template, dict):
            return {name: self.body(value) for name, value in template.items()}
        if isinstance(template, list):
            return [self.body(value) for value in template]
        known = {
            "{environment_id}": self.environment.pk,
            "{name}": self.environment.name,
            "{fresh}": f"new-{self.environment.name}",
            "{pick}": f"{self.secret.pk}:{self.secret.etag}",
        }
        return known.get(template, template)


def rotate(place: Scene, actor: Principal, route: str) -> None:
    """Put the scene's secret under rotation, and begin one where the route is about that."""
    policy = policies.create(
        actor=actor, secret=place.secret, rotator="generated", settings={}, credentials={}
    )
    place.policy_id = policy.pk
    if route.endswith("-resume"):
        policies.suspend(actor=actor, policy=policy)
    if route in OF_A_ROTATION:
        place.rotation_id = request_rotation(actor=actor, policy=policy).pk
    if route in {"api-rotation-roll-back", "api-rotation-cut-grace"}:
        execution_runner.execute(place.rotation_id)


def ask(cast: Cast, environment: Environment) -> int:
    """Return a request of alice's for what managers and administrators may do."""
    environment.protected = True
    environment.save()
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=cast.principal(cast.alice), environment=environment, user=cast.charlie, role="viewer"
        )
    environment.protected = False
    environment.save()
    return raised.value.approval


def ask_there(place: Scene, route: str) -> None:
    """Let somebody ask for approval, or for access, where the route is about that."""
    cast = place.cast
    if "approval" in route:
        place.approval_id = ask(cast, place.environment)
    if "access-request" in route:
        place.request_id = access_requests.submit(
            actor=cast.principal(cast.bob), environment=place.environment.name, role="reader"
        ).pk


def review_there(place: Scene, route: str) -> None:
    """Start a review of the scene's environment, where the route is about that; vera's entry is in it."""
    if "review-" in route or route == "api-review":
        root = place.cast.principal(place.cast.root)
        review = reviews.start(actor=root, name="Q4", environments=[place.environment])
        place.review_id = review.pk
        place.review_item_id = review.items.get(subject_name="vera").pk


@pytest.fixture
def scene(cast: Cast) -> Callable[[str], Scene]:
    return scenes(cast)


def scenes(cast: Cast) -> Callable[[str], Scene]:
    """Return what makes the objects that a route or page is about."""
    count = iter(range(1000))
    User.objects.create_user("newcomer")

    def make(route: str) -> Scene:
        place = bare_scene(cast, next(count))
        furnish(place, route)
        return place

    return make


def bare_scene(cast: Cast, number: int) -> Scene:
    """Return what every route and page finds: an environment with a secret, a member and tokens."""
    environment = Environment.objects.create(name=f"place-{number}")
    Membership.objects.create(environment=environment, user=cast.alice, role="manager")
    alice, operator = cast.principal(cast.alice), system_principal(is_admin=True)
    secret = keep(cast, "part/key", environment=environment)
    member = memberships.grant(actor=alice, environment=environment, user=cast.vera, role="viewer")
    token, _ = issue(actor=alice, environment=environment, role="viewer", name="standing")
    admin_token, _ = issue(actor=operator, environment=None, role="admin", name=f"standing-{number}")
    return Scene(cast, environment, secret, member, token.pk, admin_token.pk)


@pytest.fixture(scope="module")
def shared_scene(module_cast: Cast, django_db_blocker: DjangoDbBlocker) -> Scene:
    """Return a bare scene in which every caller is signed in or has a token."""
    with django_db_blocker.unblock():
        User.objects.create_user("newcomer")
        place = bare_scene(module_cast, 0)
        people = {caller: browser_of(caller, place) for caller in PEOPLE}
        place.sessions = {
            caller: each.cookies[configured.SESSION_COOKIE_NAME].value
            for caller, each in people.items()
            if each.cookies
        }
        programs = {caller: call_as(caller, place) for caller in CALLERS if caller not in ACTORS}
        place.tokens = {
            caller: each.headers["authorization"] for caller, each in programs.items() if each.headers
        }
        return place


@pytest.fixture
def stage(shared_scene: Scene, db: None, settings: Settings) -> Callable[[str], Scene]:
    """Return what makes the shared scene one of a route or page; the test forgets what it changes there."""
    # The sessions began with the module.
    settings.KEEPER_REAUTH_SECONDS = settings.KEEPER_SESSION_IDLE_SECONDS = DAY_SECONDS
    keyring().open_all()

    def make(route: str) -> Scene:
        place = deepcopy(shared_scene)
        furnish(place, route)
        return place

    return make


def furnish(place: Scene, route: str) -> None:
    """Add what some routes and pages are about, as alice."""
    environment, alice = place.environment, place.cast.principal(place.cast.alice)
    if route in {"api-secret-restore", "api-secret-purge", "secret-restore", "secret-purge"}:
        delete(actor=alice, secret=place.secret)
    if "recipient" in route:
        added = add_recipient(actor=alice, environment=environment, email="ops@example.com")
        place.recipient_id = added.pk
    if "mapping" in route:
        mapping = SamlGroupMapping.objects.create(
            group="ops", environment=environment, role="reader", suspended_at=timezone.now()
        )
        place.mapping_id = mapping.pk
    if "departure" in route:
        client = ScimClient.objects.create(name=f"Okta {environment.pk}")
        token = ServiceToken(role="provisioner", name="Okta", scim_client_uuid=client.uuid)
        set_secret(token)
        token.save()
        departure = Departure.objects.create(
            user=User.objects.get(username="newcomer"), kind="left", ended_by_kind="token",
            ended_by_uuid=token.uuid, ended_by_name="Okta", held_at=timezone.now(),
        )  # fmt: skip
        value = DepartureValue.objects.create(
            departure=departure, secret=place.secret, numbers=[1], counted_number=1
        )
        place.departure_id, place.value_id = departure.pk, value.pk
    if "trust" in route:
        place.trust_id = trust_there(place, alice, has_keys="fetch-keys" in route).pk
    release_there(place, route)
    ask_there(place, route)
    review_there(place, route)
    message_there(place, route)
    if "webhook" in route:
        webhook, _ = add_webhook(
            actor=alice, environment=environment, name="standing", url="https://hooks.example/x"
        )
        place.webhook_id = webhook.pk
    if route in {"api-consent", "consent-withdraw"}:
        target = make_target(
            place.cast.production, name=f"target-{environment.pk}", place=f"place-{environment.pk}"
        )
        place.consent_id = consents.give_consent(actor=alice, environment=environment, target=target).pk
    if route.startswith(("target-", "plan-", "api-target", "api-plan")):
        aim(place, alice, route)
    if route.startswith(("api-rotat", "rotation-")) and route not in OF_NO_POLICY:
        rotate(place, alice, route)


def message_there(place: Scene, route: str) -> None:
    if "message" in route:
        place.message_id = Delivery.objects.create(
            environment=place.environment, transport="email", addressee=place.environment.uuid, kind="test",
            subject="standing", state=DeliveryState.FAILED,
        ).pk  # fmt: skip


def release_there(place: Scene, route: str) -> None:
    """Give the scene a released program, for the routes that are about one."""
    if route not in {"api-release", "release-end"}:
        return
    row = ProgramRelease.objects.create(
        environment=place.environment, program_kind="token", program_uuid=uuid4(), program_name="ci",
        path="part", reason="for the matrix", asked_by_uuid=place.cast.alice.uuid, asked_by_name="alice",
        agreed_by="bob", approval=uuid4(),
    )  # fmt: skip
    place.release_id = row.pk


def trust_there(place: Scene, alice: Principal, *, has_keys: bool = False) -> Trust:
    return trusts.create(
        actor=alice, environment=place.environment, preset="oidc", name=f"trust-{place.environment.pk}",
        issuer="https://issuer.test", audience="keeper", claims={"sub": "x"}, role="reader",
        jwks=Issuer().jwks() if has_keys else "",
    )  # fmt: skip


def aim(place: Scene, alice: Principal, route: str) -> None:
    """Give the scene a target with a plan."""
    inside = {"address": "http://127.0.0.1:1"}
    of_api: dict[str, Any] = {"scope": "part", "destination": inside, "endpoint": inside["address"]}
    target = make_target(place.environment, **(of_api if route.startswith("api-") else {}))
    plan = make_plan(target)
    place.target_id, place.plan_id = target.pk, plan.pk
    place.item_id = make_item(plan, "part/key", act="conflict").pk
    if route.endswith("-resume"):
        targets.pause(actor=alice, target=target)


def name_of(caller: str) -> str:
    """Return the name of a caller's token."""
    return f"caller-{caller.replace(' ', '-')}"


def call_as(caller: str, place: Scene) -> Client:
    """Return a client for a caller, mostly by a service token."""
    if caller in place.tokens:
        return Client(headers={"authorization": place.tokens[caller]})
    if caller in {"nobody", "outsider", "admin"}:
        return browser_of(caller, place)
    operator = system_principal(is_admin=True)
    options: dict[str, Any] = {"environment": place.environment, "role": caller}
    if caller == "admin token":
        options = {"environment": None, "role": "admin"}
    elif caller == "manager of another environment":
        options = {"environment": place.cast.production, "role": "manager"}
    elif caller == "manager of another prefix":
        options |= {"role": "manager", "prefix": "another/part"}
    elif caller == "manager of the prefix":
        options |= {"role": "manager", "prefix": "part"}
    _, text = issue(actor=operator, name=name_of(caller), **options)
    return Client(headers={"authorization": f"Bearer {text}"})


@contextmanager
def undone() -> Iterator[None]:
    """Undo what is done in the block: the next caller meets the same objects, which take long to make.

    By hand, since Keeper asks no other system within an `atomic`.
    """
    before = transaction.savepoint()
    yield
    transaction.savepoint_rollback(before)
    forget_data_keys()
    cache.clear()


def shown(response: Any) -> str:
    """Return the text of an answer, also of one that is passed on while it is read."""
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode("utf-8", "replace"))


def browser_of(caller: str, place: Scene) -> Client:
    client = Client()
    if caller in place.sessions:
        client.cookies[configured.SESSION_COOKIE_NAME] = place.sessions[caller]
    if caller == "nobody" or caller in place.sessions:
        return client
    if caller == "outsider":
        who = place.cast.charlie
    elif caller == "admin":
        who = place.cast.root
    else:
        who = User.objects.create_user(f"{caller}-{place.environment.pk}")
        Membership.objects.create(environment=place.environment, user=who, role=caller)
    client.force_login(who, backend="environments_app.users.password_backend.LocalBackend")
    return client
