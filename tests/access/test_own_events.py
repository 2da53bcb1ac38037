"""What people read of their own acts: of a denied one nothing that the denial did not show."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Outcome
from audit_app.models import AuditEvent
from audit_app.queries import search
from environments_app.environments.memberships import grant
from environments_app.models import User
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal
from secrets_app.models import Secret
from secrets_app.services.read import reveal, reveal_environment
from secrets_app.tests.kept import keep, send
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.every_database_weekly

SignedIn = Callable[[User], Client]
HIDDEN = "hidden-name"


def furnish(cast: Cast) -> list[Secret]:
    """Store secrets and a target of production, which charlie and bob may know nothing of."""
    make_target(cast.production, name=f"{HIDDEN}-target")
    return [keep(cast, f"{HIDDEN}/{number}", environment=cast.production) for number in range(3)]


def probe(client: Client) -> None:
    """Ask for the first ids, and those around the secrets, by each way that takes an id."""
    newest = Secret.objects.latest("pk").pk
    for number in {1, 2, *range(max(newest - 3, 1), newest + 2)}:
        for path in ("secrets", "targets", "environments", "tokens", "rotations"):
            client.get(f"/api/{path}/{number}")
            client.get(f"/{path}/{number}")
        for act in ("rename", "move", "copy", "rollback", "reveal"):
            send(client, "POST", f"/api/secrets/{number}/{act}", {"name": "x", "version": 1})
            client.post(f"/secrets/{number}/{act}", {"name": "x"})
        client.delete(f"/api/secrets/{number}")


def faces(client: Client) -> Iterator[str]:
    for url in (
        "/",
        "/activity",
        "/activity?outcome=denied",
        "/activity/export.json",
        "/activity/export.csv",
    ):
        yield client.get(url).content.decode()
    url = "/api/events?limit=100"
    while url:
        page = client.get(url).json()
        yield str(page)
        url = page["next"]
    for event in AuditEvent.objects.all():
        yield client.get(f"/activity/{event.pk}").content.decode()
        yield str(client.get(f"/api/events/{event.stream}/{event.sequence}/items").content)


@pytest.mark.parametrize("who", ["charlie", "bob", "prefixed"])
def test_who_asks_for_all_ids_reads_no_name_of_them(cast: Cast, signed_in: SignedIn, who: str) -> None:
    secrets = furnish(cast)
    if who == "prefixed":
        own = keep(cast, "own/key", environment=cast.production)
        user = User.objects.create_user("pat")
        grant(
            actor=cast.principal(cast.alice),
            environment=cast.production,
            user=user,
            role="reader",
            prefix="own",
        )
    else:
        own, user = None, getattr(cast, who)
    client = signed_in(user)
    probe(client)
    # The log has them, for those who may read it.
    denied = AuditEvent.objects.filter(outcome=Outcome.DENIED, actor_uuid=user.uuid)
    assert denied.filter(object_uuid__in=[secret.uuid for secret in secrets]).exists()

    shown = "".join(faces(client))

    found = [HIDDEN, *(str(secret.uuid) for secret in secrets)]
    if own is None:
        found += [str(cast.production.uuid), "production"]
    assert [each for each in found if each in shown] == []
    for wanted in (
        {"object_name": f"{HIDDEN}/1"},
        {"object_uuid": secrets[0].uuid},
        {"text": HIDDEN},
        {"outcome": Outcome.DENIED, "object_name": f"{HIDDEN}/1"},
    ):
        viewer = cast.principal(user)
        assert not search.find(viewer=viewer, **wanted).events.exists()
        assert not search.find(viewer=viewer, actor=viewer.uuid, **wanted).events.exists()


def test_managers_still_read_who_asked(cast: Cast, signed_in: SignedIn) -> None:
    secret = furnish(cast)[0]
    probe(signed_in(cast.charlie))
    events = search.events(viewer=cast.principal(cast.alice), object_uuid=secret.uuid, outcome=Outcome.DENIED)
    assert {event.actor_name for event in events} == {"charlie"}


def test_a_denial_on_what_one_may_know_is_shown(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    vera = signed_in(cast.vera)
    send(vera, "POST", f"/api/secrets/{secret.pk}/rename", {"name": "x"})
    viewer = cast.principal(cast.vera)
    (event,) = search.events(viewer=viewer, outcome=Outcome.DENIED, object_uuid=secret.uuid)
    assert event.object_name == "payments/key"


def _events(cast: Cast, user: User, **scope: Any) -> list[dict[str, Any]]:
    _, text = issue_personal(actor=cast.principal(user), name="laptop", **scope)
    page = Client(headers={"authorization": f"Bearer {text}"}).get("/api/events?limit=100").json()
    return list(page["results"])


def test_a_personal_token_reads_the_events_of_its_scope(cast: Cast) -> None:
    bob = cast.principal(cast.bob)
    for name in ("app/key", "application/key", "other/key"):
        reveal(actor=bob, secret=keep(cast, name))
    # Of the environment as a whole: not of what a token for a path reaches.
    reveal_environment(actor=bob, environment=cast.development)
    whole = _events(cast, cast.bob)
    one = _events(cast, cast.bob, environment="development", prefix="app")
    place = _events(cast, cast.bob, environment="development")

    assert {event["object_name"] for event in one} == {"app/key"}
    names = {"app/key", "application/key", "other/key", "development"}
    assert {event["object_name"] for event in place} == names
    assert {"app/key", "other/key"} < {event["object_name"] for event in whole}


def test_a_personal_token_of_an_operator_reads_the_events_of_its_scope(cast: Cast) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.root, role="reader")
    for name in ("app/key", "other/key"):
        reveal(actor=cast.principal(cast.root), secret=keep(cast, name))
    one = _events(cast, cast.root, environment="development", prefix="app")
    assert {event["object_name"] for event in one} == {"app/key"}
