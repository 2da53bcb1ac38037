"""The command that has the keys of an issuer fetched."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from environments_app.models import Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust

pytestmark = pytest.mark.django_db


def test_it_fetches_the_keys_of_the_issuer(cast: Cast) -> None:
    issuer, out = Issuer(), StringIO()
    make_trust(cast, issuer, name="pods")

    call_command("fetch_trust_keys", "pods", stdout=out)

    assert issuer.url in out.getvalue()
    assert Trust.objects.get().keys_from is not None


def test_keys_that_cannot_be_fetched_are_told_and_nothing_changes(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    make_trust(cast, Issuer(), name="pods", jwks="", jwks_url="http://127.0.0.1:1/keys")
    for name, message in (("pods", "issuer"), ("absent", "no trust")):
        with pytest.raises(CommandError, match=message):
            call_command("fetch_trust_keys", name)
    assert Trust.objects.get().keys_from is None


def test_programs_read_whose_keys_were_fetched(cast: Cast) -> None:
    issuer, out = Issuer(), StringIO()
    make_trust(cast, issuer, name="pods")
    call_command("fetch_trust_keys", "pods", "--format", "json", stdout=out)
    assert json.loads(out.getvalue()) == {"name": "pods", "issuer": issuer.url}
