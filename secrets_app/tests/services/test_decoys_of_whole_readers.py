"""Who reads every name beside a new decoy is named, and raises one calm alert on its first day."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit_app.models import AuditEvent, UsageEntry
from audit_app.queries import usage_index
from environments_app.authorization.principals import system_principal
from environments_app.models import Alert, Delivery, ServiceToken, User
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from secrets_app.models import Secret
from secrets_app.services import decoys
from secrets_app.tests.kept import keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
SignedIn = Callable[[User], Client]
NAMES = [f"shop/{number}" for number in range(10)]


def bearer(cast: Cast, name: str) -> Client:
    _, text = tokens.issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="reader", name=name
    )
    return Client(headers={"authorization": f"Bearer {text}"})


def read(client: Client, secrets: list[Secret]) -> None:
    for secret in secrets:
        assert client.get(f"/api/secrets/{secret.pk}").status_code == 200
    usage_index.catch_up()


@pytest.fixture
def beside(cast: Cast) -> list[Secret]:
    made = [keep(cast, name) for name in NAMES]
    keep(cast, "infra/other")
    return made


def trap(cast: Cast, name: str = "shop/aws-root") -> Secret:
    return decoys.make_decoy(actor=cast.principal(cast.alice), secret=keep(cast, name))


def alerts() -> list[str]:
    return list(
        Alert.objects.filter(kind="decoy", open=True).order_by("pk").values_list("subject", flat=True)
    )


def test_the_readers_of_nine_in_ten_names_are_named_at_the_creation(
    cast: Cast, beside: list[Secret], signed_in: SignedIn
) -> None:
    eso, batch = bearer(cast, "eso-prod"), bearer(cast, "batch")
    read(eso, beside[:9])
    read(batch, beside[:8])
    body = {
        "name": "shop/aws-root", "environment": "development", "secret_type": "password", "value": "bait",
        "decoy": True,
    }  # fmt: skip
    alice = signed_in(cast.alice)
    answer = alice.post("/api/secrets", body, content_type="application/json")
    sentence = "eso-prod (token) reads each name under shop/: move the decoy."
    assert (answer.status_code, answer.json()["warnings"]) == (201, [sentence])
    page = reverse("secret-detail", args=[answer.json()["id"]])
    assert sentence in alice.get(page).content.decode()
    # Who may not know that it is a decoy finds no trace of it.
    assert "move the decoy" not in signed_in(cast.erin).get(page).content.decode()
    plain = alice.post(
        "/api/secrets", body | {"name": "shop/plain", "decoy": False}, content_type="application/json"
    )
    assert "warnings" not in plain.json()
    # By the act as well, and at a path that nobody reads as a whole there are none.
    made = alice.post(f"/api/secrets/{plain.json()['id']}/make-decoy", content_type="application/json").json()
    assert made["warnings"] == [sentence]
    apart = alice.post("/api/secrets", body | {"name": "infra/root"}, content_type="application/json")
    assert apart.json()["warnings"] == []


def test_the_named_raise_one_calm_alert_on_the_first_day_and_others_alert(
    cast: Cast, beside: list[Secret]
) -> None:
    eso, thief = bearer(cast, "eso-prod"), bearer(cast, "thief")
    read(eso, beside)
    secret = trap(cast)
    read(eso, [secret])
    assert alerts() == ["Move the decoy: development/shop/aws-root"]
    sent = Delivery.objects.filter(kind="decoy").count()
    assert sent
    read(eso, [secret, secret])
    assert Delivery.objects.filter(kind="decoy").count() == sent
    (alert,) = Alert.objects.filter(kind="decoy")
    assert alert.lines[0] == "eso-prod (token) reads each name under shop/: move the decoy."
    # Each use is an event all the same.
    uses = AuditEvent.objects.filter(action="secret.decoy")
    assert uses.count() == 3
    assert all('"expected":"eso-prod (token) reads' in use.details for use in uses)
    read(thief, [secret])
    assert alerts()[1:] == ["Decoy read: development/shop/aws-root"]
    # The first day is over.
    with mock.patch.object(timezone, "now", return_value=timezone.now() + timedelta(hours=24, minutes=1)):
        read(eso, [secret])
    assert alerts()[1:] == ["Decoy read: development/shop/aws-root"] * 2


def test_a_thief_who_reads_every_name_after_the_decoy_is_no_named_reader(
    cast: Cast, beside: list[Secret]
) -> None:
    secret, thief = trap(cast), bearer(cast, "thief")
    read(thief, [*beside, secret])
    assert alerts() == ["Decoy read: development/shop/aws-root"]
    assert decoys.warnings_of(secret) == []


def test_who_is_refused_to_make_a_decoy_of_one_does_not_move_its_first_day(
    cast: Cast, beside: list[Secret], signed_in: SignedIn
) -> None:
    secret, thief = trap(cast), signed_in(cast.bob)
    for each in beside:
        assert thief.get(f"/api/secrets/{each.pk}").status_code == 200
    usage_index.catch_up()
    answer = thief.post(f"/api/secrets/{secret.pk}/make-decoy", content_type="application/json")
    assert answer.status_code == 403
    assert AuditEvent.objects.filter(action="secret.decoy_set", outcome="denied").exists()
    assert thief.get(f"/api/secrets/{secret.pk}").status_code == 200
    assert alerts() == ["Decoy read: development/shop/aws-root"]


def test_who_read_every_name_more_than_a_month_ago_is_no_named_reader(
    cast: Cast, beside: list[Secret]
) -> None:
    eso = bearer(cast, "eso-prod")
    read(eso, beside)
    secret = trap(cast)
    assert [reader.name for reader in decoys.whole_readers(secret)] == ["eso-prod"]
    long_ago = timezone.now() - timedelta(days=31)
    UsageEntry.objects.update(first_at=long_ago, last_at=long_ago)
    assert decoys.whole_readers(secret) == []


def test_decoys_are_no_names_that_a_whole_reader_has_to_read(cast: Cast, beside: list[Secret]) -> None:
    read(bearer(cast, "eso-prod"), beside)
    for number in range(3):
        trap(cast, f"shop/bait-{number}")
    assert [reader.name for reader in decoys.whole_readers(trap(cast))] == ["eso-prod"]


def test_a_token_named_like_a_named_reader_is_none(cast: Cast, beside: list[Secret]) -> None:
    read(bearer(cast, "eso-prod"), beside)
    secret = trap(cast)
    read(bearer(cast, "eso-prod"), [secret])
    assert alerts() == ["Decoy read: development/shop/aws-root"]


def test_the_tokens_of_a_workload_are_one_reader(cast: Cast, beside: list[Secret]) -> None:
    first, second = bearer(cast, "eso"), bearer(cast, "eso")
    read(first, beside[:5])
    read(second, beside[5:])
    trust = cast.bob.uuid
    assert decoys.whole_readers(secret := trap(cast)) == []
    ServiceToken.objects.filter(name="eso").update(trust_uuid=trust)
    assert [reader.subject for reader in decoys.whole_readers(secret)] == [trust]


def test_to_end_a_decoy_closes_its_alerts_and_tells_of_it_once(cast: Cast, beside: list[Secret]) -> None:
    eso = bearer(cast, "eso-prod")
    read(eso, beside)
    secret, other = trap(cast), trap(cast, "shop/other")
    read(bearer(cast, "thief"), [secret, other])
    read(eso, [secret])
    assert len(alerts()) == 3
    before = Delivery.objects.filter(kind="decoy").count()
    decoys.end_decoy(actor=cast.principal(cast.alice), secret=secret)
    assert alerts() == ["Decoy read: development/shop/other"]
    news = list(Delivery.objects.filter(kind="decoy").order_by("pk")[before:])
    assert {one.subject for one in news} == {"Decoy ended: development/shop/aws-root"}
    assert len(news) == len({(one.transport, one.addressee) for one in news})
    # Without an open alert they are told as well.
    quiet = trap(cast, "shop/quiet")
    before = Delivery.objects.filter(kind="decoy").count()
    decoys.end_decoy(actor=cast.principal(cast.alice), secret=quiet)
    assert Delivery.objects.filter(kind="decoy").count() > before
    assert alerts() == ["Decoy read: development/shop/other"]


def test_uses_that_were_not_sent_yet_are_in_the_news_of_the_end(cast: Cast, settings: Any) -> None:
    settings.KEEPER_ALERT_INTERVAL_MINUTES = 60
    secret, thief = trap(cast), bearer(cast, "thief")
    read(thief, [secret, secret])
    assert Alert.objects.get(kind="decoy", open=True).waiting
    decoys.end_decoy(actor=cast.principal(cast.alice), secret=secret)
    news = Delivery.objects.filter(kind="decoy").latest("pk")
    assert sum("thief (token)" in line for line in news.lines) >= 1
