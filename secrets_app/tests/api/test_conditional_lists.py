"""Manifests and exports with the ETag of the last answer: 304 while nothing of them has changed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.service import revoke
from secrets_app.metrics import UNCHANGED_LISTS
from secrets_app.models import EnvironmentSnapshot, Secret, SecretVersion
from secrets_app.rows import environment_snapshot
from secrets_app.services import lifecycle, read, write
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
Bearer = Callable[..., Client]
BASE = "/api/environments/development"
PATHS = (f"{BASE}/manifest", f"{BASE}/export", f"{BASE}/export?format=dotenv", f"{BASE}/export?prefix=app")


def ask(client: Client, path: str, etag: str = "") -> Any:
    return client.get(path, headers={"If-None-Match": etag} if etag else {})


def etags(client: Client) -> list[str]:
    return [ask(client, path)["ETag"] for path in PATHS]


def exports() -> int:
    return AuditEvent.objects.filter(action=Action.SECRET_EXPORT).count()


def stored(name: str) -> Secret:
    return Secret.objects.select_related("environment").get(name=name, live=True)


@pytest.fixture
def filled(cast: Cast) -> Cast:
    for name in ("app/a", "app/b", "other"):
        keep(cast, name)
    return cast


def test_a_manifest_holds_names_and_versions_and_no_value(filled: Cast, bearer: Bearer) -> None:
    secret = change(filled, stored("app/b"), "another")
    answer = ask(bearer("reader", filled.development), PATHS[0])
    assert VALUE not in answer.content.decode()
    body = answer.json()
    assert body["environment"] == "development"
    assert [each["name"] for each in body["secrets"]] == ["app/a", "app/b", "other"]
    uuid = SecretVersion.objects.get(secret=secret, number=2).uuid
    assert body["secrets"][1] == {
        "name": "app/b", "version": 2, "version_id": str(uuid), "etag": f"{secret.pk}-2-2",
    }  # fmt: skip
    part = ask(bearer("reader", filled.development), f"{PATHS[0]}?prefix=app")
    assert [each["name"] for each in part.json()["secrets"]] == ["app/a", "app/b"]
    assert exports() == 0


def test_what_one_has_is_not_sent_again_and_not_recorded(filled: Cast, bearer: Bearer) -> None:
    client = bearer("reader", filled.development)
    counted = {kind: UNCHANGED_LISTS.labels(kind)._value.get() for kind in ("export", "manifest")}
    known, before = etags(client), exports()
    assert len({*known}) == len(PATHS)
    for path, etag in zip(PATHS, known, strict=True):
        for given in (etag, f"W/{etag}", f'"0", {etag}'):
            answer = ask(client, path, given)
            assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)
            assert answer["Cache-Control"] == "no-store, private"
    assert exports() == before
    assert UNCHANGED_LISTS.labels("manifest")._value.get() == counted["manifest"] + 3
    assert UNCHANGED_LISTS.labels("export")._value.get() == counted["export"] + 9


def test_each_change_is_sent(filled: Cast, bearer: Bearer) -> None:
    client, actor = bearer("reader", filled.development), filled.principal(filled.alice)
    changes: tuple[Callable[[], object], ...] = (
        lambda: change(filled, stored("app/a"), "another"),
        lambda: write.update(actor=actor, secret=stored("app/a"), description="new"),
        lambda: lifecycle.rename(actor=actor, secret=stored("app/b"), name="app/c"),
        lambda: keep(filled, "app/new"),
        lambda: lifecycle.delete(actor=actor, secret=stored("app/new")),
        lambda: lifecycle.restore(actor=actor, secret=Secret.objects.get(name="app/new")),
        lambda: write.rollback(actor=actor, secret=stored("app/a"), number=1),
    )
    for act in changes:
        known = etags(client)
        act()
        for path, etag in zip(PATHS, known, strict=True):
            before = exports()
            answer = ask(client, path, etag)
            assert (answer.status_code, answer["ETag"] != etag) == (200, True)
            assert exports() == before + ("export" in path)


def test_a_change_by_a_clock_that_is_behind_is_sent(
    filled: Cast, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = bearer("reader", filled.development)
    known, earlier = etags(client), timezone.now() - timedelta(minutes=3)
    monkeypatch.setattr("django.utils.timezone.now", lambda: earlier)
    change(filled, stored("app/a"), "another")
    monkeypatch.undo()
    for path, etag in zip(PATHS, known, strict=True):
        assert ask(client, path, etag).status_code == 200


def test_a_change_elsewhere_is_not_sent(filled: Cast, bearer: Bearer) -> None:
    client = bearer("reader", filled.development)
    part = bearer("reader", filled.development, prefix="app")
    known, of_part = etags(client), ask(part, PATHS[0])["ETag"]
    keep(filled, "elsewhere", environment=filled.production)
    for path, etag in zip(PATHS, known, strict=True):
        assert ask(client, path, etag).status_code == 304
    change(filled, stored("other"), "another")
    assert ask(client, PATHS[0], known[0]).status_code == 200
    assert ask(client, PATHS[3], known[3]).status_code == 304
    assert ask(part, PATHS[0], of_part).status_code == 304


def test_to_whom_a_read_is_refused_this_is_too(filled: Cast, bearer: Bearer) -> None:
    known = etags(bearer("reader", filled.development))
    others = {
        bearer("viewer", filled.development): 403,
        bearer("reader", filled.production): 404,
        bearer("reader", filled.development, cidrs=["10.0.0.0/8"]): 401,
        Client(): 401,
    }
    for client, status in others.items():
        for path, etag in zip(PATHS, known, strict=True):
            for given in ("", etag, "*"):
                assert ask(client, path, given).status_code == status
    elsewhere = ask(bearer("reader", filled.development, prefix="elsewhere"), PATHS[0], known[0])
    assert (elsewhere.status_code, elsewhere.json()["secrets"]) == (200, [])


def test_a_right_that_was_lost_a_moment_ago_counts(filled: Cast, bearer: Bearer) -> None:
    client = bearer("reader", filled.development)
    known = etags(client)
    revoke(actor=filled.principal(filled.alice), token=ServiceToken.objects.get())
    for path, etag in zip(PATHS, known, strict=True):
        assert ask(client, path, etag).status_code == 401


def test_the_answer_of_a_snapshot_has_the_same_etag(
    filled: Cast, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = bearer("reader", filled.development)
    without = ask(client, PATHS[1])["ETag"]
    monkeypatch.setattr(environment_snapshot, "MIN_SECRETS", 2)
    for _ in range(2):
        read.reveal_environment(actor=filled.principal(filled.alice), environment=filled.development)
        environment_snapshot.store_prepared()
    assert EnvironmentSnapshot.objects.count() == 1
    # A thread that stores another would outlive the test.
    monkeypatch.setattr(environment_snapshot, "prepare", lambda *_: None)
    assert ask(client, PATHS[1])["ETag"] == without
    assert ask(client, PATHS[1], without).status_code == 304
