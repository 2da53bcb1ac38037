"""Those who listen for changes hear of them once they are committed, and can fail none."""

import logging
from collections.abc import Collection

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import bulk_create, lifecycle
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType

heard: list[tuple[int, list[str]]] = []


def listener(environment_id: int, names: Collection[str]) -> None:
    heard.append((environment_id, list(names)))


def broken_listener(environment_id: int, names: Collection[str]) -> None:
    raise RuntimeError


@pytest.fixture(autouse=True)
def _listening(settings: Settings) -> None:
    heard.clear()
    settings.KEEPER_CHANGE_LISTENERS = [f"{__name__}.listener"]


def test_they_hear_of_every_kind_of_change_after_it_is_committed(
    cast: Cast, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        secret = keep(cast)
        assert heard == []
    with django_capture_on_commit_callbacks(execute=True):
        change(cast, secret, "another")
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.rename(
            actor=cast.principal(cast.alice),
            secret=Secret.objects.select_related("environment").get(pk=secret.pk),
            name="payments/token",
        )
    items = [
        bulk_create.NewSecret(environment=place, name=name, secret_type=SecretType.TEXT, value="v")
        for place, name in [
            (cast.production, "many/one"), (cast.development, "many/two"), (cast.production, "many/three")
        ]
    ]  # fmt: skip
    with django_capture_on_commit_callbacks(execute=True):
        bulk_create.create_many(actor=cast.principal(cast.alice), items=items)
    assert heard == [
        (cast.development.pk, ["payments/key"]),
        (cast.development.pk, ["payments/key"]),
        # Values that name it by its former name change as well.
        (cast.development.pk, ["payments/token", "payments/key"]),
        (cast.development.pk, ["many/two"]),
        (cast.production.pk, ["many/one", "many/three"]),
    ]


def test_none_of_them_can_fail_a_change(
    cast: Cast,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    settings.KEEPER_CHANGE_LISTENERS = [f"{__name__}.broken_listener", f"{__name__}.listener"]
    with caplog.at_level(logging.CRITICAL), django_capture_on_commit_callbacks(execute=True):
        keep(cast)
    assert Secret.objects.count() == 1
    assert heard == [(cast.development.pk, ["payments/key"])]
