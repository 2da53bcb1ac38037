"""A read with the ETag of the last one: 304 while it holds, and refused to whoever a read is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.service import revoke
from secrets_app.metrics import UNCHANGED_READS
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = pytest.mark.django_db
Bearer = Callable[..., Client]


def paths(secret: Secret) -> tuple[str, str]:
    return f"/api/secrets/{secret.pk}", f"/api/environments/development/secrets/{secret.name}"


def reads() -> int:
    return AuditEvent.objects.filter(action=Action.SECRET_REVEAL).count()


def ask(client: Client, path: str, etag: str) -> Any:
    return client.get(path, headers={"If-None-Match": etag})


@pytest.mark.every_database
def test_what_one_has_is_not_sent_again_and_not_recorded(cast: Cast, bearer: Bearer) -> None:
    secret, client = keep(cast), bearer("reader", cast.development)
    etag = client.get(paths(secret)[0])["ETag"]
    before, counted = reads(), UNCHANGED_READS._value.get()
    for path in paths(secret):
        for given in (etag, f"W/{etag}", f'"0-0", {etag}', "*"):
            answer = ask(client, path, given)
            assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)
            assert answer["Cache-Control"] == "no-store, private"
    assert reads() == before
    assert UNCHANGED_READS._value.get() == counted + 8


@pytest.mark.every_database
def test_what_changed_is_sent_and_recorded(cast: Cast, bearer: Bearer) -> None:
    secret, client = keep(cast), bearer("reader", cast.development)
    etag = client.get(paths(secret)[0])["ETag"]
    change(cast, secret, "another")
    for path in paths(secret):
        before = reads()
        answer = ask(client, path, etag)
        assert (answer.status_code, answer.json()["value"]) == (200, "another")
        assert reads() == before + 1
    # What is not the value, such as its description, changes the ETag as well.
    etag = answer["ETag"]
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    write.update(actor=cast.principal(cast.alice), secret=stored, description="new")
    assert ask(client, paths(secret)[0], etag).status_code == 200


def test_a_stage_is_always_sent(cast: Cast, bearer: Bearer) -> None:
    secret, client = keep(cast), bearer("reader", cast.development)
    change(cast, secret, "another")
    path = f"{paths(secret)[0]}?stage=previous"
    assert ask(client, path, "*").json()["value"] == VALUE


@pytest.mark.every_database
def test_to_whom_a_read_is_refused_this_is_too(cast: Cast, bearer: Bearer) -> None:
    secret = keep(cast)
    etag = bearer("reader", cast.development).get(paths(secret)[0])["ETag"]
    viewer = ask(bearer("viewer", cast.development), paths(secret)[0], etag)
    assert (viewer.status_code, "value" in viewer.json()) == (200, False)
    others = {
        bearer("reader", cast.development, prefix="elsewhere"): 404,
        bearer("reader", cast.production): 404,
        bearer("reader", cast.development, cidrs=["10.0.0.0/8"]): 401,
        Client(): 401,
    }
    for client, status in others.items():
        for path in paths(secret):
            assert ask(client, path, etag).status_code == status


@pytest.mark.every_database
def test_a_right_that_was_lost_a_moment_ago_counts(cast: Cast, bearer: Bearer) -> None:
    secret, client = keep(cast), bearer("reader", cast.development)
    etag = client.get(paths(secret)[0])["ETag"]
    assert ask(client, paths(secret)[0], etag).status_code == 304
    revoke(actor=cast.principal(cast.alice), token=ServiceToken.objects.get())
    assert ask(client, paths(secret)[0], etag).status_code == 401


@pytest.mark.every_database
def test_an_edited_or_deleted_secret_is_not_confirmed(cast: Cast, bearer: Bearer) -> None:
    secret, client = keep(cast), bearer("reader", cast.development)
    etag = client.get(paths(secret)[0])["ETag"]
    Secret.objects.filter(pk=secret.pk).update(secret_type="JSON")
    assert ask(client, paths(secret)[0], etag).status_code == 409
    Secret.objects.filter(pk=secret.pk).update(secret_type="TEXT")
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    lifecycle.delete(actor=cast.principal(cast.alice), secret=stored)
    assert ask(client, paths(secret)[0], etag).status_code == 404
