"""Those who listen for changes hear of them once they are committed, and can fail none."""

import logging

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from environments_app.tests.cast import Cast
from secrets_app import bulk
from secrets_app.models import Secret
from secrets_app.secret_types import SecretType
from secrets_app.tests.kept import change, keep

heard: list[int] = []


def listener(environment_id: int) -> None:
    heard.append(environment_id)


def broken_listener(environment_id: int) -> None:
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
    item = bulk.NewSecret(
        environment=cast.production, name="many/one", secret_type=SecretType.TEXT, value="v"
    )
    with django_capture_on_commit_callbacks(execute=True):
        bulk.create_many(actor=cast.principal(cast.alice), items=[item])
    assert heard == [cast.development.pk, cast.development.pk, cast.production.pk]


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
    assert heard == [cast.development.pk]
