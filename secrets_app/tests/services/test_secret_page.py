"""A secret's own page: fields one by one, versions side by side, who has seen it, and what a conflict keeps."""

import html
import json
import re
from collections.abc import Callable

import pytest
import yaml
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.models import User
from environments_app.tests.cast import Cast
from environments_app.views.client_download import install_line
from secrets_app.exposure import seen_by
from secrets_app.models import Secret
from secrets_app.services import read as read_service
from secrets_app.tests.kept import VALUE, change, keep
from secrets_app.tests.types.test_secret_types_certificate import certificate
from secrets_app.types.generators.registry import generate
from secrets_app.types.registry import SecretType
from secrets_app.values.version_diff import line_changes

pytestmark = pytest.mark.every_database_weekly

SignedIn = Callable[[User], Client]
Events = Callable[..., list[AuditEvent]]
HTMX = {"hx-request": "true"}


@pytest.fixture
def document(cast: Cast) -> Secret:
    value = json.dumps({"username": "payments", "password": VALUE})
    return keep(cast, "payments/db", value, secret_type=SecretType.JSON)


def test_one_field_is_revealed_and_copied_without_the_others(
    cast: Cast, document: Secret, signed_in: SignedIn, events: Events
) -> None:
    reader = signed_in(cast.bob)
    names = reader.post(f"/secrets/{document.pk}/reveal", {"shape": "fields"}, headers=HTMX).content.decode()
    assert ("username" in names, VALUE in names, "payments</" in names) == (True, False, False)
    user = reader.post(f"/secrets/{document.pk}/reveal", {"field": "username"}, headers=HTMX).content.decode()
    assert ("payments" in user, VALUE in user) == (True, False)
    assert reader.post(f"/secrets/{document.pk}/copy", {"field": "password"}).content.decode() == VALUE
    assert reader.post(f"/secrets/{document.pk}/copy", {"field": VALUE}).status_code == 400
    # Each opening is on record, that of the names alone as well.
    assert len(events("secret.reveal")) == 4


def test_versions_are_compared_by_field_and_masked_until_asked(
    cast: Cast, document: Secret, signed_in: SignedIn, events: Events
) -> None:
    change(cast, document, json.dumps({"username": "payments", "password": "next-9d", "port": 1}))
    reader = signed_in(cast.bob)
    form = {"old": "1", "new": "2"}
    assert VALUE not in reader.get(f"/secrets/{document.pk}/diff").content.decode()
    assert events("secret.reveal") == []

    names = reader.post(f"/secrets/{document.pk}/diff", form | {"show": "names"})

    assert [(part.name, part.change) for part in names.context["parts"]] == [
        ("username", "same"),
        ("password", "changed"),
        ("port", "added"),
    ]
    assert not {VALUE, "next-9d"} & set(names.content.decode().replace("<", " ").replace(">", " ").split())
    assert ("The values differ." in names.content.decode(), "•" in names.content.decode()) == (True, False)
    values = reader.post(f"/secrets/{document.pk}/diff", form | {"show": "values"}).content.decode()
    assert VALUE in values
    assert "next-9d" in values
    assert sorted(json.loads(event.details)["number"] for event in events("secret.reveal")) == [1, 1, 2, 2]


def test_two_texts_are_compared_without_a_line_of_them(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    change(cast, secret, "second-4f")
    for old, words in (("1", "The values differ."), ("2", "The values are equal.")):
        form = {"old": old, "new": "2", "show": "names"}
        page = signed_in(cast.bob).post(f"/secrets/{secret.pk}/diff", form).content.decode()
        assert words in page
        assert not [each for each in (VALUE, "second-4f", "•") if each in page]


def test_lines_are_told_apart() -> None:
    parts = line_changes("a\nb\nc", "a\nB\nc\nd")
    assert [(part.change, part.new if part.old is None else part.old) for part in parts] == [
        ("same", "a"),
        ("removed", "b"),
        ("added", "B"),
        ("same", "c"),
        ("added", "d"),
    ]


def test_who_has_seen_which_version_reads_of_many_included(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    bob, alice = cast.principal(cast.bob), cast.principal(cast.alice)
    read_service.reveal(actor=bob, secret=Secret.objects.get(pk=secret.pk))
    change(cast, secret, "second")
    read_service.reveal(actor=bob, secret=Secret.objects.get(pk=secret.pk))
    read_service.reveal_environment(actor=alice, environment=cast.development)

    found = [(viewer.name, viewer.count, viewer.versions) for viewer in seen_by(actor=alice, secret=secret)]

    assert found == [("alice", 1, "v2"), ("bob", 2, "v2, v1")]
    # It is a part of the trail, which readers do not read.
    assert seen_by(actor=bob, secret=secret) == []
    assert "Viewed by" in signed_in(cast.alice).get(f"/secrets/{secret.pk}").content.decode()
    assert "Viewed by" not in signed_in(cast.bob).get(f"/secrets/{secret.pk}").content.decode()


def test_every_read_of_a_secret_is_found_from_its_page(
    cast: Cast, signed_in: SignedIn, bearer: Callable[..., Client]
) -> None:
    secret = keep(cast)
    for read in (keep(cast, name="other/key"), secret):
        read_service.reveal(actor=cast.principal(cast.bob), secret=Secret.objects.get(pk=read.pk))
    change(cast, secret, "second")
    bearer("reader", cast.development).get(f"/api/secrets/{secret.pk}")
    read_service.reveal_environment(actor=cast.principal(cast.erin), environment=cast.development)
    alice = signed_in(cast.alice)
    page = alice.get(f"/secrets/{secret.pk}").content.decode()
    (address,) = re.findall(r'href="(/activity[^"]*action=reads[^"]*)"', page)

    found = alice.get(html.unescape(address)).context["events"]

    told = [(line.event.actor_name, str(line.event.action), tuple(numbers)) for line, numbers, _ in found]
    assert told == [
        ("erin", "secret.export", (2,)),
        ("reader-token", "secret.reveal", (2,)),
        ("bob", "secret.reveal", (1,)),
    ]


def test_a_conflict_shows_both_sides_and_keeps_all_that_was_typed(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, owner="old-team")
    typed = {
        "secret_type": "TEXT",
        "value": "typed-value",
        "owner": "my-team",
        "tags": "mine",
        "comment": "because",
        "expected": secret.etag,
    }
    change(cast, secret, "theirs-77", owner="their-team")

    page = signed_in(cast.erin).post(f"/secrets/{secret.pk}/edit", typed)

    text = page.content.decode()
    assert page.status_code == 422
    for kept in ("typed-value", "my-team", "mine", "because", "their-team"):
        assert kept in text
    assert "theirs-77" not in text
    assert (page.context["conflict"]["author"], page.context["conflict"]["is_new_value"]) == ("alice", True)
    told = {each["label"]: (each["theirs"], each["mine"]) for each in page.context["conflict"]["fields"]}
    assert told == {"Tags": ("", "mine"), "Owner": ("their-team", "my-team")}


def test_a_certificate_is_described_as_people_say_it(cast: Cast, signed_in: SignedIn) -> None:
    made = generate("certificate", {"common_name": "keeper.example"})
    secret = keep(cast, "tls", made.value, secret_type=SecretType.CERTIFICATE)
    page = signed_in(cast.bob).get(f"/secrets/{secret.pk}").content.decode()
    assert "364 days left" in page
    assert '<dd><span class="font-monospace">ECDSA 256</span></dd>' in page
    assert "Self-signed" in page
    assert secret.facts["fingerprint_sha256"] in page
    assert "San count" not in page


def test_a_fact_that_says_nothing_is_left_out(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "tls", certificate(), secret_type=SecretType.CERTIFICATE)
    assert secret.facts["sans"] == []
    page = signed_in(cast.bob).get(f"/secrets/{secret.pk}").content.decode()
    assert "Subject alternative names" not in page
    assert re.search("<dt>Private key</dt><dd>\\s*no", page)


def test_a_reveal_brings_who_has_viewed_the_secret_up_to_date(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    shown = signed_in(cast.alice).post(f"/secrets/{secret.pk}/reveal", headers={"hx-request": "true"})
    text = shown.content.decode()
    assert re.search(f'id="viewers" hx-get="/secrets/{secret.pk}[?]viewers=0"[^>]*hx-swap-oob="true"', text)
    panel = signed_in(cast.alice).get(f"/secrets/{secret.pk}?viewers=0", headers={"hx-request": "true"})
    assert re.search('id="viewers">.*<b>alice</b>', panel.content.decode(), re.DOTALL)
    assert 'id="secret-activity" hx-swap-oob="true"' in text
    # A reader sees no access log, and gets no panel that was not on the page.
    seen = signed_in(cast.bob).post(f"/secrets/{secret.pk}/reveal", headers={"hx-request": "true"})
    assert 'id="viewers"' not in seen.content.decode()


def test_a_secret_is_renamed_and_duplicated(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "old")
    keep(cast, "taken")
    editor = signed_in(cast.erin)
    refused = editor.post(f"/secrets/{secret.pk}/rename", {"name": "taken"})
    assert refused.status_code == 422
    assert "already exists in development" in refused.content.decode()
    assert editor.post(f"/secrets/{secret.pk}/rename", {"name": "new"}).status_code == 302
    assert editor.post(f"/secrets/{secret.pk}/duplicate", {"name": "twin"}).status_code == 302
    twin = Secret.objects.select_related("environment").get(name="twin")
    assert read_service.reveal(actor=cast.principal(cast.erin), secret=twin).value == VALUE
    assert Secret.objects.get(pk=secret.pk).name == "new"
    assert signed_in(cast.bob).get(f"/secrets/{secret.pk}/duplicate").status_code == 403


def test_the_menu_offers_what_one_may(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    labels = [
        [action["label"] for action in signed_in(user).get(f"/secrets/{secret.pk}").context["actions"]]
        for user in (cast.erin, cast.vera)
    ]
    assert "Rename…" in labels[0]
    assert labels[1] == []


def test_snippets_name_the_secret_and_hold_no_value(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "pay/db")
    page = signed_in(cast.bob).get(f"/secrets/{secret.pk}")
    texts = {snippet.name: snippet.text for snippet in page.context["snippets"]}
    by_kpr, by_operator, by_vault, by_aws = (texts[name] for name in ("kpr", "kubernetes", "vault", "aws"))
    by_rest = [texts[name] for name in ("curl", "python", "node", "github")]
    assert next(iter(texts)) == "kpr"
    assert "kpr get -e development pay/db" in by_kpr
    # Whoever copies and runs it installs kpr: the line is none of comment.
    assert f"\n{install_line('http://testserver')}\n" in by_kpr
    # A developer without a service token has their own.
    assert '<a href="/profile#tokens">personal token</a>' in page.content.decode()
    assert by_kpr.endswith("it gets PAY_DB")
    # Service tokens are a link for whoever issues them.
    assert "/environments/development#tokens" not in page.content.decode()
    assert (
        "/environments/development#tokens"
        in signed_in(cast.alice).get(f"/secrets/{secret.pk}").content.decode()
    )
    _store, wanted = yaml.safe_load_all(by_operator)
    assert wanted["spec"]["data"][0]["remoteRef"] == {"key": "pay/db", "property": "value"}
    assert wanted["metadata"]["name"] == "pay-db"
    assert all("/api/environments/development/secrets/pay/db" in text for text in by_rest)
    assert 'VAULT_ADDR="http://testserver/vault"' in by_vault
    assert by_vault.endswith('vault kv get -field=value "development/pay/db"')
    assert 'AWS_ENDPOINT_URL_SECRETS_MANAGER="http://testserver/aws"' in by_aws
    assert '--secret-id "pay/db"' in by_aws
    assert VALUE not in "".join(texts.values())
    assert "PAY_DB" in by_rest[-1]
    assert signed_in(cast.vera).get(f"/secrets/{secret.pk}").context["snippets"] == []


def test_a_value_is_validated_without_being_stored(cast: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(cast.erin)
    sent = {"secret_type": "JSON", "value": "{broken-canary"}
    refused = browser.post("/secrets/check", sent).content.decode()
    assert "Invalid JSON at line 1" in refused
    assert "canary" not in refused
    assert "Valid JSON" in browser.post("/secrets/check", sent | {"value": "{}"}).content.decode()
    assert not Secret.objects.exists()
