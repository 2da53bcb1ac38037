"""After a restore: SCIM's tokens wait, departures go on, and people sign in through their providers as before."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from environments_app.models import Departure, OidcProvider, ServiceToken, User
from environments_app.tests.cast import Cast
from environments_app.trusts.key_source import forget_keys
from operations_app.backup.create import back_up
from operations_app.backup.restore import restore
from operations_app.backup.restore_check import compare
from operations_app.tests.backup.making import OPERATOR
from secrets_app.departures import following
from secrets_app.models import DepartureValue, Secret
from secrets_app.services.read import reveal
from secrets_app.tests.kept import keep
from tests.oidc_issuer.server import SECRET, serving
from tests.people.test_oidc import PUBLIC, add, sign_in, who
from tests.people.test_scim import Scim, with_role

pytestmark = pytest.mark.every_database


def test_a_restored_installation_goes_on_with_its_people(
    cast: Cast, settings: Settings, tmp_path: Path
) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    settings.KEEPER_URL, settings.KEEPER_OUTBOUND_ALLOWED = PUBLIC, ["127.0.0.0/8"]
    forget_keys()
    with serving() as issuer:
        add(cast, issuer)
        sign_in(Client(), issuer)
        provider = OidcProvider.objects.values().get()
        scim = Scim(cast)
        key, bea = scim.created()
        with_role(cast, bea)
        reveal(actor=cast.principal(User.objects.get(pk=bea.pk)), secret=keep(cast, "known"))
        assert scim.activate(key, active=False).status_code == 200
        made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path

        out = StringIO()
        call_command("restore", str(made), "--drill", stdout=out, stderr=StringIO())
        assert (
            "1 sign-in providers as they were, 1 open departures that go on, 1 tokens of SCIM clients that wait"
        ) in out.getvalue()
        assert "No doubt is left" in out.getvalue()

        restore(made, replace=True)
        assert OidcProvider.objects.values().get() == provider
        assert scim.call("get", "/Users").status_code == 401
        following.run()
        assert not DepartureValue.objects.exists()
        call_command("activate", "--yes", stdout=StringIO())
        following.run()
        assert DepartureValue.objects.get().secret.name == "known"
        assert Secret.objects.get(name="known").rotation_due_at is not None
        assert Departure.objects.get().open
        sign_in(client := Client(), issuer)
        assert who(client) == "dora"
        call_command("release", "service-token", str(scim.token.uuid), stdout=StringIO())
        assert scim.listed() == ["bea@example.com"]


def test_a_provider_whose_secret_does_not_open_and_a_token_that_acts_are_doubts(
    cast: Cast, settings: Settings, tmp_path: Path
) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    settings.KEEPER_URL, settings.KEEPER_OUTBOUND_ALLOWED = PUBLIC, ["127.0.0.0/8"]
    with serving() as issuer:
        add(cast, issuer)
    Scim(cast)
    made = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    restore(made, replace=True)
    OidcProvider.objects.update(secret=SECRET.encode())
    for token in ServiceToken.objects.all():
        token.suspended_at = None
        token.save()
    doubts = {check.name: check.doubts for check in compare(made)}
    assert doubts["people"] == [
        "the client secret of the sign-in provider acme does not open",
        "1 tokens of SCIM clients act, which is right only after `keeper release`",
    ]
