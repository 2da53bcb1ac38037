"""References and consents on the pages and in the API: what one may choose, and what one gets to see."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.models import Environment, User
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.tests.kept import keep
from sync_app.models import ReferenceConsent, Target
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.every_database_weekly
SignedIn = Callable[[User], Client]


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.development)


def form_of(environment: Environment, **fields: str) -> dict[str, str]:
    return {
        "environment": environment.name,
        "name": "app/url",
        "secret_type": "TEXT",
        "value": "${production/db/password}",
        **fields,
    }


def test_the_form_makes_a_secret_that_resolves(cast: Cast, signed_in: SignedIn) -> None:
    source = keep(cast, "db/password", environment=cast.production)
    browser = signed_in(cast.alice)
    browser.post(reverse("secret-new"), form_of(cast.development, uses_references="on"))
    secret = Secret.objects.get(name="app/url")
    assert secret.uses_references
    page = browser.get(reverse("secret-detail", args=[secret.pk])).content.decode()
    assert reverse("secret-detail", args=[source.pk]) in page
    back = browser.get(reverse("secret-detail", args=[source.pk])).content.decode()
    assert "Used by" in back
    assert reverse("secret-detail", args=[secret.pk]) in back
    # Saving the form without a value keeps the choice and the references.
    browser.post(
        reverse("secret-edit", args=[secret.pk]),
        form_of(cast.development, uses_references="on", value="", description="new"),
    )
    assert Secret.objects.get(name="app/url").resolves_as == secret.resolves_as
    browser.post(reverse("secret-edit", args=[secret.pk]), form_of(cast.development, value=""))
    assert not Secret.objects.get(name="app/url").uses_references


def test_who_may_not_see_a_secret_does_not_learn_its_name(cast: Cast, signed_in: SignedIn) -> None:
    source = keep(cast, "db/password", environment=cast.production)
    keep(cast, "app/url", "${production/db/password}", uses_references=True)
    secret = Secret.objects.get(name="app/url")
    page = signed_in(cast.vera).get(reverse("secret-detail", args=[secret.pk])).content.decode()
    assert "1 deleted or not visible to you" in page
    assert "db/password" not in page
    assert signed_in(cast.vera).get(reverse("secret-detail", args=[source.pk])).status_code == 404


def test_a_refused_reference_is_said_beside_the_value(cast: Cast, signed_in: SignedIn) -> None:
    answer = signed_in(cast.erin).post(reverse("secret-new"), form_of(cast.development, uses_references="on"))
    assert answer.status_code == 422
    assert "Reference 1: not found" in answer.content.decode()


def test_a_consent_is_given_shown_and_withdrawn(cast: Cast, signed_in: SignedIn, target: Target) -> None:
    browser = signed_in(cast.alice)
    give = reverse("consent-give", args=["production"])
    browser.post(give, {"target": f"development/{target.name}", "names": "db"})
    consent = ReferenceConsent.objects.get()
    assert (consent.prefix, consent.given_by, consent.is_authentic()) == ("db", "alice", True)
    for name in ("consents", "environment-detail"):
        assert (
            f"development/{target.name}" in browser.get(reverse(name, args=["production"])).content.decode()
        )
    again = browser.post(give, {"target": f"development/{target.name}", "names": "db"})
    assert (again.status_code, "is already allowed" in again.content.decode()) == (422, True)
    browser.post(reverse("consent-withdraw", args=["production", consent.pk]))
    assert not ReferenceConsent.objects.exists()


def test_the_api_does_the_same(cast: Cast, signed_in: SignedIn, target: Target) -> None:
    client = signed_in(cast.alice)
    body = {"environment_id": cast.development.pk, "name": "a", "secret_type": "TEXT", "value": "x"}
    made = client.post(
        reverse("api-secrets"), body | {"uses_references": True}, content_type="application/json"
    )
    assert (made.status_code, made.json()["uses_references"]) == (201, True)
    bulk = client.post(
        reverse("api-secrets-bulk"),
        {"secrets": [body | {"name": "b", "uses_references": True}]},
        content_type="application/json",
    )
    assert bulk.status_code == 400
    where = reverse("api-consents", args=["production"])
    own = reverse("api-consents", args=["development"])
    named = {"target": f"development/{target.name}"}
    assert client.post(own, named, content_type="application/json").status_code == 400
    assert client.post(where, named, content_type="application/json").status_code == 201
    (listed,) = client.get(where).json()["results"]
    assert listed["target"] == named["target"]
    assert client.delete(reverse("api-consent", args=["production", listed["id"]])).status_code == 204
