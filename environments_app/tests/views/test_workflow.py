"""The workflow on a trust's page is the one of the documentation, with the names of the trust."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.test import Client

from environments_app.models import Environment, Trust, User
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.views.trusts import workflow_of

SERVER = "https://keeper.example.com"


def test_it_has_the_documented_form() -> None:
    page = (Path(settings.BASE_DIR) / "docs" / "tokens.md").read_text()
    documented = re.findall(r"```yaml\n((?:permissions|deploy):.*?)```", page, re.DOTALL)
    names = {"github": "shop-deploy", "gitlab": "shop-pipeline"}
    place = Environment(name="production")
    trusts = [
        Trust(name=name, preset=key, audience=SERVER, prefix="shop", environment=place)
        for key, name in names.items()
    ]
    assert [workflow_of(trust, server=SERVER, secret="shop/db") for trust in trusts] == documented


def test_another_audience_is_quoted() -> None:
    given = {"name": "ci", "audience": "a b: c", "environment": Environment(name="production")}
    github, gitlab = (workflow_of(Trust(preset=key, **given), server=SERVER) for key in ("github", "gitlab"))
    assert '&audience=a%20b:%20c"' in github
    assert '/secrets/NAME"' in github
    assert yaml.safe_load(gitlab)["deploy"]["id_tokens"]["KEEPER_JWT"]["aud"] == "a b: c"


@pytest.mark.django_db
def test_the_page_shows_it_for_platforms_that_have_one(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    issuer = Issuer()
    claims = {"repository": "example/shop"}
    trusts = [
        make_trust(cast, issuer, environment=cast.development, name="deploy", preset="github", claims=claims),
        make_trust(cast, issuer, environment=cast.development, name="other"),
    ]
    browser = signed_in(cast.alice)
    shown = [
        browser.get(f"/environments/development/trusts/{trust.pk}").context["workflow"] for trust in trusts
    ]
    assert "http://testserver" in shown[0]
    assert shown[1] == ""
