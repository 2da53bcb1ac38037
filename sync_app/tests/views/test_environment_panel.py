"""The targets on the page of an environment: its own, at a cost that does not grow with them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.tests.kept import keep
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Reason
from sync_app.tests.shown import make_entry, make_target
from sync_app.views.panels import TargetPanel

pytestmark = pytest.mark.every_database


def test_an_environment_shows_its_own_targets_to_its_managers(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    make_target(cast.development, "vault-here")
    make_target(cast.production, "vault-elsewhere")
    page = signed_in(cast.alice).get("/environments/development").content.decode()
    assert ("vault-here" in page, "vault-elsewhere" in page) == (True, False)
    assert "vault-here" not in signed_in(cast.bob).get("/environments/development").content.decode()


def test_a_secret_names_the_target_that_has_another_of_its_name(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast, "payments/db")
    make_entry(make_target(cast.development), secret, DeliveryState.UNMANAGED, reason=Reason.NOT_OURS)
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}").content.decode()
    assert "name taken" in page
    assert "vault already has a secret of this name" in page


def test_many_targets_cost_what_one_does(cast: Cast) -> None:
    costs: list[Any] = []
    for name in ("a", "b", "c"):
        make_target(cast.development, name)
        with CaptureQueriesContext(connection) as captured:
            TargetPanel().panel(environment=cast.development)
        costs.append(len(captured))
    assert costs[0] == costs[-1]
