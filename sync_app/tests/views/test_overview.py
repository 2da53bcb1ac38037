"""The overview of an environment: each secret at each target, by constant statements, within one's rights."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from environments_app.tests.cast import Cast
from secrets_app.services import write
from secrets_app.tests.kept import VALUE, keep
from sync_app.domain.delivery_state import DeliveryState
from sync_app.models import Target
from sync_app.tests.shown import make_entry, make_target

pytestmark = pytest.mark.django_db
PAGE, API = "/sync/overview?environment=development", "/api/environments/development/deliveries"


@pytest.fixture
def targets(cast: Cast) -> list[Target]:
    scopes = {"aws-main": "", "github-app": "", "team-only": "team"}
    made = [make_target(cast.development, name, scope=scope) for name, scope in scopes.items()]
    for name, states in (
        ("app/key", [DeliveryState.IN_SYNC, DeliveryState.DRIFTED]),
        ("team/key", [DeliveryState.FAILED, None, DeliveryState.CONFLICT]),
    ):
        secret = keep(cast, name)
        for target, state in zip(made, states, strict=False):
            if state is not None:
                make_entry(target, secret, state)
    return made


def states(client: Client, query: str = "") -> dict[str, dict[str, str]]:
    found = client.get(f"{API}{query}", headers={"Accept": "application/json"}).json()["results"]
    return {row["secret"]: {each["name"]: each["state"] for each in row["targets"]} for row in found}


def test_each_secret_is_shown_at_each_target_that_covers_it(
    cast: Cast, targets: list[Target], bearer: Callable[..., Client], signed_in: Callable[..., Client]
) -> None:
    shown = states(bearer("viewer", cast.development))
    assert shown == {
        "app/key": {"aws-main": "in_sync", "github-app": "drifted"},
        # Without an entry it waits for the first look.
        "team/key": {"aws-main": "failed", "github-app": "pending", "team-only": "conflict"},
    }
    assert list(states(bearer("viewer", cast.development), "?state=drifted")) == ["app/key"]
    assert bearer("viewer", cast.development).get(f"{API}?state=other").status_code == 400
    page = signed_in(cast.alice).get(PAGE).content.decode()
    assert all(target.name in page for target in targets)
    assert VALUE not in page
    rows = page.partition("<tbody>")[2].split("</tr>")
    assert [row.count("<td") for row in rows[:2]] == [3, 3]
    assert "team/" not in signed_in(cast.alice).get(f"{PAGE}&state=drifted").content.decode()


def test_what_one_may_not_see_is_not_there(
    cast: Cast, targets: list[Target], bearer: Callable[..., Client], signed_in: Callable[..., Client]
) -> None:
    assert states(bearer("viewer", cast.development, prefix="team")) == {
        "team/key": {"team-only": "conflict"}
    }
    page = signed_in(cast.charlie).get("/sync/overview").content.decode()
    assert targets[0].name not in page
    assert signed_in(cast.charlie).get(PAGE).status_code == 404


def test_secrets_of_another_environment_are_no_rows(
    cast: Cast, targets: list[Target], signed_in: Callable[..., Client]
) -> None:
    """Alice manages both."""
    keep(cast, "elsewhere/key", environment=cast.production)
    client = signed_in(cast.alice)
    assert list(states(client)) == ["app/key", "team/key"]
    assert "elsewhere" not in client.get(PAGE).content.decode()


def test_it_takes_a_constant_number_of_statements(
    cast: Cast, targets: list[Target], signed_in: Callable[..., Client]
) -> None:
    client = signed_in(cast.alice)
    client.get(PAGE)
    with CaptureQueriesContext(connection) as few:
        assert client.get(PAGE).status_code == 200
    for number in range(12):
        secret = keep(cast, f"more/{number}")
        for target in targets:
            make_entry(target, secret, DeliveryState.IN_SYNC)
        make_target(cast.development, f"more-{number}")
    with CaptureQueriesContext(connection) as many:
        assert client.get(PAGE).status_code == 200
    assert len(many) == len(few)


@pytest.mark.every_database
def test_a_value_saved_since_the_last_sync_is_pending_everywhere(
    cast: Cast, signed_in: Callable[..., Client], bearer: Callable[..., Client]
) -> None:
    target, client = make_target(cast.development, "vault"), signed_in(cast.alice)
    program = bearer("viewer", cast.development)
    secret = keep(cast, "app/key")
    make_entry(target, secret, DeliveryState.IN_SYNC)
    for waits in (False, True):
        if waits:
            write.update(actor=cast.principal(cast.alice), secret=secret, value="newer")
        for path in (f"/secrets/{secret.pk}", f"/sync/{target.pk}", PAGE):
            page = client.get(path).content.decode()
            assert ("pending: v2 not delivered yet" in page) == waits, path
        expected = "pending" if waits else "in_sync"
        assert states(program) == {"app/key": {"vault": expected}}
        assert {state for state in ("pending", "in_sync") if states(program, f"?state={state}")} == {expected}
    [row] = program.get(API, headers={"Accept": "application/json"}).json()["results"]
    assert row["targets"][0]["reason"] == "pending: v2 not delivered yet"
