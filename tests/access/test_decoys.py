"""Each use of a decoy raises an alert: the ways to a value are played; answers with many leave it out."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

import pytest
from django.test import Client
from pytest_django import DjangoDbBlocker

from audit_app.models import AuditEvent
from core.errors import KeeperError
from environments_app.models import Alert, Delivery, Membership, Role, User
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.plan import plan_import
from secrets_app.models import Secret
from secrets_app.services import decoys, versions
from secrets_app.tests.kept import VALUE, keep
from tests.access.test_guarded_reads import SECOND, WAYS, Scene, _texts, furnish

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


@pytest.fixture(scope="module")
def furnished(module_cast: Cast, django_db_blocker: DjangoDbBlocker) -> Scene:
    with django_db_blocker.unblock():
        return furnish(module_cast, decoys.make_decoy, lambda _: Client())


@pytest.fixture
def scene(furnished: Scene, signed_in: Callable[[User], Client], db: None) -> Scene:
    return replace(deepcopy(furnished), signed_in=signed_in)


def uses() -> int:
    return AuditEvent.objects.filter(action="secret.decoy").count()


# They read many, and meet the decoy on their way: it is in none of them, and that is no use.
MANY: Final = {
    "page: export", "page: a column of the matrix", "api: export", "api: export, a program", "api: export as dotenv",
    "api: compare", "a use case: export", "a snapshot", "a clone", "a promotion", "a comparison",
    "the leak finder",
}  # fmt: skip
# They show nothing of the value, as for any secret.
NOTHING: Final = {
    "page: the secret", "page: edit", "api: carry out what is only asked for", "the read engine",
    "page: bulk copy", "vault: static credentials",
}  # fmt: skip
# They name decoys alone among what they read.
NAMED: Final = {"page: bulk export", "aws: batch by filter"}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_the_value_alerts_and_no_answer_with_many_holds_it(scene: Scene, way: str) -> None:
    before = Delivery.objects.count()
    try:
        found = _texts(WAYS[way](scene))
    except (AssertionError, KeeperError) as error:
        found = str(error)
    shown = SECOND in found or VALUE in found
    if way in MANY | NOTHING | NAMED:
        assert not shown
    if way in MANY | NOTHING:
        assert not uses()
        return
    assert uses() >= 1
    alert = Alert.objects.get(kind="decoy")
    assert alert.subject == "Decoy read: development/app/db"
    assert "the decoy from" in alert.lines[0]
    # The managers are told at once.
    assert Delivery.objects.filter(kind="decoy").count() > before


def test_what_is_in_no_list_is_shown(scene: Scene) -> None:
    """The ways that the list calls uses do show the value: otherwise they prove nothing."""
    closed = MANY | NOTHING | NAMED | {
        "page: duplicate", "page: share", "page: bulk copy", "api: copy", "api: move", "vault: subkeys",
        "vault: wrapped", "vault: static credentials", "an overwrite", "a new link", "a wrapping",
        "a rotation policy",
    }  # fmt: skip
    for way in WAYS.keys() - closed:
        found = _texts(WAYS[way](scene))
        assert SECOND in found or VALUE in found, (way, found[:300])


@pytest.mark.parametrize("name", ["If-None-Match", "HEAD"])
def test_a_poll_of_the_state_is_a_use(scene: Scene, name: str) -> None:
    client = Client(headers={"authorization": f"Bearer {scene.tokens['service']}"})
    if name == "HEAD":
        assert client.head(f"/api/secrets/{scene.secret.pk}").status_code == 200
    else:
        answer = client.get(f"/api/secrets/{scene.secret.pk}", headers={"If-None-Match": "*"})
        assert answer.status_code == 304
    assert uses() == 1


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/api/environments/development/export?prefix=app", 1),
        ("/api/environments/development/export?prefix=app/db", 1),
        ("/api/environments/development/manifest?prefix=app/db", 1),
        ("/api/environments/development/manifest", 0),
        ("/api/environments/development/export", 0),
    ],
)
def test_a_read_of_many_that_reaches_decoys_alone_is_a_use(scene: Scene, path: str, counts: int) -> None:
    answer = Client(headers={"authorization": f"Bearer {scene.tokens['service']}"}).get(path)
    assert answer.status_code == 200
    assert b"app/db" not in answer.content
    assert uses() == counts


def test_a_read_of_many_that_finds_others_is_a_use_of_the_decoy_it_names_alone(scene: Scene) -> None:
    keep(scene.cast, "app/db/below")
    client = Client(headers={"authorization": f"Bearer {scene.tokens['service']}"})
    for prefix, counts in (("app", 0), ("app/db", 1)):
        answer = client.get(f"/api/environments/development/export?prefix={prefix}")
        assert list(answer.json()) == ["app/db/below"]
        assert uses() == counts


def test_a_read_of_many_that_may_not_read_the_decoy_is_no_use_of_it(scene: Scene) -> None:
    actor = scene.cast.principal(scene.cast.alice)
    for prefix, counts in (("elsewhere", 0), ("app", 1)):
        _, text = issue(
            actor=actor, environment=scene.cast.development, role="reader", name=prefix, prefix=prefix
        )
        client = Client(headers={"authorization": f"Bearer {text}"})
        assert client.get("/api/environments/development/export").json() == {}
        assert uses() == counts


def test_an_equal_value_that_is_written_is_a_use(scene: Scene) -> None:
    answer = scene.api(
        f"/api/secrets/{scene.secret.pk}",
        method="PATCH",
        body={"value": json.dumps({"password": SECOND})},
    )
    assert answer.status_code == 200
    assert uses() == 1


@pytest.mark.parametrize(("place", "counts"), [("development", 1), ("production", 0)])
def test_a_reference_to_it_is_a_use(scene: Scene, place: str, counts: int) -> None:
    answer = scene.api(
        "/api/secrets",
        method="POST",
        body={
            "environment": "development",
            "name": "refers",
            "secret_type": "text",
            "value": f"${{{place}/app/db}}",
            "uses_references": True,
        },
    )
    assert answer.status_code == 201
    assert uses() == counts


@pytest.mark.parametrize("given", [SECOND, "another"])
def test_the_preview_of_an_import_tells_of_it_what_it_tells_of_any_secret(scene: Scene, given: str) -> None:
    """That the value is the stored one confirms a guess, and is a use; that it is not tells nothing."""
    entry = Entry(place=1, name="app/db", value=json.dumps({"password": given}))
    _join(scene, Role.EDITOR)
    actor = scene.cast.principal(scene.cast.bob)
    place = scene.cast.development
    told = plan_import(actor=actor, environment=place, entries=[entry]).lines[0].verdict
    assert uses() == (given == SECOND)
    row = scene.now()
    row.decoy = None
    row.save()
    assert told == plan_import(actor=actor, environment=place, entries=[entry]).lines[0].verdict


@pytest.mark.parametrize("came_back", [False, True])
def test_a_decoy_that_is_moved_stays_one(scene: Scene, came_back: bool) -> None:
    """An editor may move a secret, and may not end a decoy."""
    cast, name = scene.cast, "moved"
    Membership.objects.create(environment=cast.production, user=cast.bob, role=Role.EDITOR)
    _join(scene, Role.EDITOR)
    if came_back:
        held = keep(cast, name, value="of before", environment=cast.production)
        held = Secret.objects.select_related("environment").get(pk=held.pk)
        versions.delete_versions(actor=cast.principal(cast.alice), secret=held, numbers=[1])
    token = issue_personal(actor=cast.principal(cast.bob), name="bob")[1]
    answer = Client(headers={"authorization": f"Bearer {token}"}).post(
        f"/api/secrets/{scene.secret.pk}/move",
        {"environment": "production", "name": name},
        content_type="application/json",
    )
    assert answer.status_code in {200, 201}, answer.content
    moved = Secret.objects.get(environment=cast.production, name=name, live=True)
    assert moved.decoy
    assert moved.is_authentic()
    before = uses()
    assert (
        Client(headers={"authorization": f"Bearer {token}"}).get(f"/api/secrets/{moved.pk}").status_code
        == 200
    )
    assert uses() == before + 1


def _join(scene: Scene, role: str) -> None:
    row = Membership.objects.get(environment=scene.cast.development, user=scene.cast.bob)
    row.role = role
    row.save()


def _shown_to(client: Client, scene: Scene, *paths: str) -> dict[str, Any]:
    return {path: client.get(path.format(scene.secret.pk)).content.decode() for path in paths}


@pytest.mark.parametrize("role", ["viewer", "reader", "editor"])
def test_nobody_who_may_not_read_the_audit_log_is_told(scene: Scene, role: str) -> None:
    """All that is shown of a decoy is what is shown of the same secret that is none."""
    _join(scene, role)
    user = User.objects.get(pk=scene.cast.bob.pk)
    paths = (
        "/api/secrets/{}/versions",
        "/api/secrets?environment=development",
        "/api/secrets?decoy=true",
        "/api/secrets/{}/usage",
    )
    page = "/secrets/{}"
    client = scene.signed_in(user)
    told = _shown_to(client, scene, *paths, page)
    assert json.loads(told["/api/secrets?decoy=true"])["results"] == []
    assert "decoy" not in told[page].replace("decoys", "").lower()
    row = scene.now()
    row.decoy = None
    row.save()
    plain = _shown_to(client, scene, *paths)
    assert {path: told[path] for path in paths} == plain


def test_a_reader_does_not_find_the_alert_among_their_own_acts(scene: Scene) -> None:
    token = issue_personal(actor=scene.cast.principal(scene.cast.bob), name="bob")[1]
    client = Client(headers={"authorization": f"Bearer {token}"})
    _join(scene, Role.READER)
    assert client.get(f"/api/secrets/{scene.secret.pk}").status_code == 200
    assert uses() == 1
    own = client.get("/api/activity?limit=100").content.decode()
    assert "secret.decoy" not in own


def test_managers_see_it_and_find_it(scene: Scene) -> None:
    client = scene.signed_in(scene.cast.alice)
    found = client.get("/api/secrets?decoy=true").json()["results"]
    assert [each["name"] for each in found] == ["app/db"]
    assert "decoy" in client.get(f"/secrets/{scene.secret.pk}").content.decode()
