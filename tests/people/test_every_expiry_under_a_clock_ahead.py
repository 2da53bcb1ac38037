"""Whatever has an `expires_at`, and was begun under a clock that was ahead, counts for nothing until then."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from django.apps import apps
from django.core import mail
from django.db import models
from django.utils import timezone
from pytest_django import Settings

from environments_app.access_requests import service as access_requests
from environments_app.approvals import service as approvals
from environments_app.approvals.applying import approve_and_apply
from environments_app.approvals.program_releases import find_release
from environments_app.authorization.principals import token_principal
from environments_app.environments import service as environments
from environments_app.errors import AccessError, ApprovalNeeded
from environments_app.models import (
    AccessRequest,
    Approval,
    DeviceSignIn,
    Membership,
    PasswordLink,
    PersonalToken,
    ProgramRelease,
    ReviewItem,
    Role,
    ServiceToken,
    Trust,
    User,
)
from environments_app.tests.authentication.test_clock_ahead import SetAhead, ahead
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import authentication, bearers, device, loopback, personal
from environments_app.tokens import service as tokens
from environments_app.trusts.sign_in import sign_in
from environments_app.users import password_links
from environments_app.users.password_mail import send_due
from secrets_app.errors import WrappingEnded
from secrets_app.models import Secret, Share, WrappedRead
from secrets_app.services import releases, share, wrapped_reads
from secrets_app.tests.kept import keep

__all__ = ["ahead"]
pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
# The rig of the finding: an hour's link lasted for twenty.
BY: Final = timedelta(hours=20)
HERE: Final = "192.0.2.7"
# What is begun, and whether it counts now.
Begun = Callable[[], bool]


def counts(act: Callable[[], Any]) -> bool:
    """Return whether an act that uses it is let pass."""
    try:
        return bool(act())
    except AccessError:
        return False


def _approval(cast: Cast) -> Begun:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(
            actor=cast.principal(cast.alice), environment=cast.production, protected=False
        )
    row = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    erin = cast.principal(cast.erin)
    return lambda: approvals.may_approve(erin, row) and approvals.waiting_for(erin) == [row]


def _access_request(cast: Cast) -> Begun:
    row = access_requests.submit(actor=cast.principal(cast.charlie), environment="development", role="reader")
    alice = cast.principal(cast.alice)
    return lambda: row.is_open and access_requests.waiting_for(alice) == [row]


def _membership(cast: Cast) -> Begun:
    end = timezone.now() + timedelta(hours=1)
    Membership.objects.create(
        environment=cast.production, user=cast.charlie, role=Role.READER, expires_at=end
    )
    return lambda: bool(cast.principal(cast.charlie).grants)


def _service_token(cast: Cast) -> Begun:
    _, text = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci",
        expires_at=timezone.now() + timedelta(hours=1),
    )  # fmt: skip
    return lambda: counts(lambda: authentication.authenticate(text, address=HERE))


def _personal_token(cast: Cast) -> Begun:
    _, text = personal.issue_personal(actor=cast.principal(cast.alice), name="kpr")
    return lambda: counts(lambda: personal.authenticate_personal(text, address=HERE))


def _trust(cast: Cast) -> Begun:
    issuer = Issuer()
    make_trust(cast, issuer, expires_at=timezone.now() + timedelta(hours=1))
    return lambda: counts(lambda: sign_in(trust_name="ci", jwt=issuer.sign(), address=HERE))


def _device(cast: Cast) -> Begun:
    started = device.start(name="kpr", address=HERE)
    alice = cast.principal(cast.alice)
    return lambda: counts(lambda: device.find_waiting(actor=alice, code=started.row.user_code))


def _loopback(cast: Cast) -> Begun:
    asked = {"client_name": "kpr", "port": "40123", "state": "s" * 32, "code_challenge": "c" * 43}
    loopback.approve(
        actor=cast.principal(cast.alice), asked=loopback.parse_request(asked),
        environment="", prefix="", lifetime=timedelta(hours=1),
    )  # fmt: skip
    row = DeviceSignIn.objects.get()
    return lambda: DeviceSignIn.objects.filter(device.in_time(), pk=row.pk).exists()


def _link(cast: Cast, purpose: str) -> Begun:
    if purpose == "invitation":
        user = User.objects.create_user("nina", email="nina@example.com")
        password_links.invite(actor=cast.principal(cast.root), user=user)
    else:
        password_links.choose_reset(actor=cast.principal(cast.alice), user=cast.alice, allowed=True)
        password_links.request_reset(email="alice@example.com", address=HERE)
        send_due()
    send_due()
    assert mail.outbox
    row = PasswordLink.objects.filter(code_hash__isnull=False).get()
    return lambda: row.is_open


def _wrapped_read(cast: Cast) -> Begun:
    token, _ = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci",
        expires_at=None,
    )  # fmt: skip
    actor, hour = token_principal(token), timedelta(hours=1)
    made, text = wrapped_reads.wrap_read(actor=actor, secret=keep(cast), path="a", lifetime=hour)
    opener = wrapped_reads.Opener(HERE, "r")

    def counts() -> bool:
        try:
            return wrapped_reads.find_wrapped(text=text, opener=opener) == made
        except WrappingEnded:
            return False

    return counts


def _release(cast: Cast) -> Begun:
    alice, place = cast.principal(cast.alice), cast.development
    Membership.objects.create(environment=place, user=cast.charlie, role="manager")
    token, _ = tokens.issue(actor=alice, environment=place, role="reader", name="ci", expires_at=None)
    ends = timezone.now() + timedelta(hours=1)
    with pytest.raises(ApprovalNeeded) as raised:
        releases.release(
            actor=alice, environment=place, program=token, path="a", reason="For the test", expires_at=ends
        )
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert approve_and_apply(actor=cast.principal(cast.charlie), approval=asked).done
    row, actor = ProgramRelease.objects.get(), token_principal(token)
    return lambda: find_release(actor, environment=place, secret=uuid4(), name="a") == row


def _share(cast: Cast) -> Begun:
    secret = keep(cast)
    made, _ = share.share_once(actor=cast.principal(cast.alice), secret=secret, hours=1)
    return lambda: made.is_open and share.open_shares(secret=secret) == [made]


def _session(cast: Cast) -> Begun:
    """Begin a session of `/aws`, of a token without an end: it is stored in no row."""
    token, _ = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci",
        expires_at=None,
    )  # fmt: skip
    _, text = bearers.session_of(token)
    return lambda: not bearers.open_session(text).is_over


WAYS: Final[dict[str, tuple[type[models.Model] | None, Callable[[Cast], Begun]]]] = {
    "approval": (Approval, _approval),
    "access request": (AccessRequest, _access_request),
    "membership": (Membership, _membership),
    "service token": (ServiceToken, _service_token),
    "personal token": (PersonalToken, _personal_token),
    "trust": (Trust, _trust),
    "device code": (DeviceSignIn, _device),
    "loopback code": (DeviceSignIn, _loopback),
    "invitation": (PasswordLink, lambda cast: _link(cast, "invitation")),
    "password reset": (PasswordLink, lambda cast: _link(cast, "reset")),
    "one-time link": (Share, _share),
    "released program": (ProgramRelease, _release),
    "wrapped read": (WrappedRead, _wrapped_read),
    "/aws session": (None, _session),
}
# Why a model needs no such test.
OTHERS: Final[dict[type[models.Model], str]] = {
    ReviewItem: "a copy of the access that was listed; that access is in the table",
    Secret: "people enter the date on which a credential ends elsewhere; no clock of Keeper begins it",
}


@pytest.fixture(autouse=True)
def mail_server(settings: Settings) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example.com"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


@pytest.mark.parametrize("way", WAYS)
def test_it_lasts_no_longer_than_its_length(cast: Cast, ahead: SetAhead, way: str) -> None:
    begin = WAYS[way][1]
    with ahead(BY):
        begun = begin(cast)
        assert begun()
    assert not begun()


@pytest.mark.parametrize("way", WAYS)
def test_it_counts_under_one_clock(cast: Cast, ahead: SetAhead, way: str) -> None:
    # The clocks of hosts may differ a little.
    with ahead(timedelta(minutes=3)):
        begun = WAYS[way][1](cast)
    assert begun()


def test_every_model_with_an_expiry_is_in_the_table() -> None:
    found = {
        model
        for model in apps.get_models()
        if any(field.name == "expires_at" for field in model._meta.get_fields())
    }
    tested = {model for model, _ in WAYS.values() if model}
    assert found == tested | OTHERS.keys()
    assert not tested & OTHERS.keys()
