"""An administrator's session or right ends while an act on another person is on its way: it changes nobody."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from django.test import Client

from audit_app.events.actions import Outcome
from audit_app.models import AuditEvent
from environments_app.authentication import second_factor
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import user_principal
from environments_app.errors import Forbidden, SessionEnded
from environments_app.models import Departure, ProvisionedUser, Session, User
from environments_app.sessions import service
from environments_app.tests.authentication.test_mfa import enrolled
from environments_app.tests.cast import Cast
from environments_app.users import accounts, handing_over
from secrets_app.departures.ending import end_person
from tests.people.test_scim import Scim

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]

NEW = "a-wholly-new-passphrase"


class Scene(NamedTuple):
    """Rita, an administrator with a session, what she acts as, and the SCIM client that is there."""

    cast: Cast
    rita: User
    actor: Principal
    scim: Scim

    @property
    def root(self) -> Principal:
        return user_principal(self.cast.root).proven()

    @property
    def alice(self) -> User:
        return User.objects.get(pk=self.cast.alice.pk)


@pytest.fixture
def scene(cast: Cast) -> Scene:
    rita = accounts.create_user(actor=user_principal(cast.root).proven(), username="rita", role="admin")
    scim = Scim(cast)
    enrolled(cast, cast.alice)
    Client().force_login(rita)
    key = Session.objects.get(user=rita).session_key
    return Scene(cast, rita, replace(user_principal(rita).proven(), session=key), scim)


Act = Callable[[Scene], object]


def hand_over(scene: Scene) -> object:
    return handing_over.hand_over(
        actor=scene.actor,
        user=scene.alice,
        client=scene.scim.row,
        external_id="00u1",
        user_name="alice@example.com",
    )


ACTS: dict[str, Act] = {
    "makes": lambda s: accounts.create_user(actor=s.actor, username="mallory", role="admin", password=NEW),
    "promotes": lambda s: accounts.update_user(actor=s.actor, user=s.alice, role="admin"),
    "disables": lambda s: accounts.disable_user(actor=s.actor, user=s.alice),
    "sets a password": lambda s: accounts.set_password(actor=s.actor, user=s.alice, password=NEW),
    "restores": lambda s: accounts.restore_account(actor=s.actor, user=s.alice, role="admin", password=NEW),
    "resets the factor": lambda s: second_factor.remove(actor=s.actor, user=s.alice),
    "offboards": lambda s: end_person(actor=s.actor, user=s.alice),
    "hands over": hand_over,
}
ENDS: dict[str, tuple[type[Exception], Act]] = {
    "signed out": (SessionEnded, lambda s: service.end_other_sessions(actor=s.root, user=s.rita)),
    "offboarded": (SessionEnded, lambda s: end_person(actor=s.root, user=s.rita)),
    "disabled": (SessionEnded, lambda s: accounts.disable_user(actor=s.root, user=s.rita)),
    "taken over": (
        SessionEnded, lambda s: accounts.set_password(actor=s.root, user=s.rita, password=NEW),
    ),
    "no administrator": (Forbidden, lambda s: accounts.update_user(actor=s.root, user=s.rita, role="user")),
}  # fmt: skip


def everybody() -> list[Any]:
    columns = ("username", "role", "is_active", "password", "second_factor", "suspended_at")
    found: list[Any] = [*User.objects.order_by("pk").values_list(*columns)]
    return [*found, Departure.objects.count(), ProvisionedUser.objects.count()]


def meanwhile(monkeypatch: pytest.MonkeyPatch, end: Callable[[], object]) -> list[Any]:
    """Let something happen just before the accounts are locked; return who is there once it did."""
    ids, after = service.own_ids, list[Any]()

    def slowly(actor: Principal) -> list[int]:
        for module in (service, handing_over):
            monkeypatch.setattr(module, "own_ids", ids)
        end()
        after.extend(everybody())
        return ids(actor)

    for module in (service, handing_over):
        monkeypatch.setattr(module, "own_ids", slowly)
    return after


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("act", ACTS)
def test_an_act_of_an_administrator_who_ended_meanwhile_changes_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, act: str, end: str
) -> None:
    error, happens = ENDS[end]
    after = meanwhile(monkeypatch, lambda: happens(scene))
    with pytest.raises(error):
        ACTS[act](scene)
    assert after == everybody()
    told = AuditEvent.objects.order_by("-pk")[0]
    assert (told.outcome, told.actor_name) == (Outcome.DENIED, "rita")
    assert ("session-ended" in told.details) == (error is SessionEnded)


@pytest.mark.parametrize("act", ACTS)
def test_the_same_act_of_a_session_that_goes_on(scene: Scene, act: str) -> None:
    before = everybody()
    ACTS[act](scene)
    assert before != everybody()
