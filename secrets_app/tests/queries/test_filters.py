from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import anonymous_principal
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidInput
from secrets_app.forms.secret import AGES
from secrets_app.models import Secret
from secrets_app.queries.filters import narrow, wants_deleted
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database
NOBODY = anonymous_principal("192.0.2.1")


def names(actor: Principal = NOBODY, **parameters: str) -> set[str]:
    rows = narrow(Secret.objects.filter(live=True), parameters, actor=actor)
    return set(rows.values_list("name", flat=True))


@pytest.mark.parametrize("sign", ["%", "_", "\\", "%%", "a%c", "a_c", "\\%"])
def test_signs_of_patterns_are_looked_for_as_they_are(cast: Cast, sign: str) -> None:
    keep(cast, "abc", description="plain")
    assert names(q=sign) == set()
    keep(cast, "found", description=f"before {sign} after")
    assert names(q=sign) == {"found"}


def test_a_search_reads_name_description_owner_and_tags_in_any_case(cast: Cast) -> None:
    keep(cast, "Payments/KEY", description="Of the Größe", owner="Team-Ops", tags=["pci"])
    keep(cast, "other")
    for text in (
        "payments/key",
        "PAYMENTS",
        "größe",
        "GRÖSSE".replace("SS", "ß"),
        "team-OPS",
        "PCI",
        "key ops  pci",
    ):
        assert names(q=text) == {"Payments/KEY"}, text
    assert names(q="payments missing") == set()
    assert names(q="  ") == {"Payments/KEY", "other"}


def test_a_search_has_so_many_words_and_characters(cast: Cast) -> None:
    keep(cast, "a")
    assert names(q=" ".join(["a"] * 10)) == names(q="a" + " " * 199) == {"a"}
    for text in (" ".join(["a"] * 11), "a" * 201):
        with pytest.raises(InvalidInput, match="at most 10 words and 200 characters"):
            names(q=text)


def test_a_search_does_not_read_values(cast: Cast) -> None:
    keep(cast, "a", "needle-in-the-value", comment="needle-in-the-comment")
    assert names(q="needle") == set()


def test_tags_are_found_whole(cast: Cast) -> None:
    keep(cast, "a", tags=["pci", "prod"])
    keep(cast, "b", tags=["pci-dss"])
    keep(cast, "c", tags=["x_y"])
    keep(cast, "d", tags=["xzy"])
    assert names(tag="pci") == names(tag="PCI") == {"a"}
    assert names(tag="prod") == {"a"}
    assert names(tag="pc") == names(tag="dss") == set()
    assert names(tag="x_y") == {"c"}
    for bad in ("pci,prod", "a b", ",", "%"):
        with pytest.raises(InvalidInput):
            names(tag=bad)


def test_a_prefix_is_of_whole_segments_and_knows_case(cast: Cast) -> None:
    for name in (
        "pay",
        "pay/a",
        "pay/a/b",
        "pay-out",
        "pay.x",
        "pay0",
        "payments",
        "PAY/a",
        "Pay/a",
        "p/pay/a",
    ):
        keep(cast, name)
    assert names(prefix="pay") == names(prefix="pay/") == {"pay", "pay/a", "pay/a/b"}
    assert names(prefix="PAY") == {"PAY/a"}
    with pytest.raises(InvalidInput):
        names(prefix="pay//")


def test_owner_and_environment_are_exact(cast: Cast) -> None:
    keep(cast, "a", owner="ops")
    keep(cast, "b", owner="ops-eu")
    keep(cast, "c", environment=cast.production)
    assert names(owner="ops") == {"a"}
    assert names(environment="production") == names(environment=str(cast.production.pk)) == {"c"}
    assert names(environment="prod") == names(environment="987654321") == names(environment="9" * 40) == set()


def test_an_environment_may_be_called_by_a_number(cast: Cast) -> None:
    place = Environment.objects.create(name="2024")
    Secret(environment=place, name="a", secret_type="TEXT").save()
    assert names(environment="2024") == {"a"}


@pytest.mark.parametrize(
    ("days", "found"), [("0", {"over"}), ("7", {"over", "soon"}), ("36500", {"over", "soon", "late"})]
)
def test_expiring_within_days_includes_what_is_over(cast: Cast, days: str, found: set[str]) -> None:
    now = timezone.now()
    for name, expiry in (
        ("over", now - timedelta(days=1)),
        ("soon", now + timedelta(days=6)),
        ("late", now + timedelta(days=60)),
        ("never", None),
    ):
        keep(cast, name, expires_at=expiry)
    assert names(expiring=days) == found


def test_rotation_is_none_scheduled_or_overdue(cast: Cast) -> None:
    now = timezone.now()
    for name, due in (
        ("none", None),
        ("overdue", now - timedelta(days=1)),
        ("scheduled", now + timedelta(days=1)),
    ):
        secret = keep(cast, name)
        Secret.objects.filter(pk=secret.pk).update(rotation_due_at=due)
    assert names(rotation="none") == {"none"}
    assert names(rotation="overdue") == {"overdue"}
    assert names(rotation="scheduled") == {"overdue", "scheduled"}


def test_types_are_taken_in_any_spelling(cast: Cast) -> None:
    keep(cast, "a")
    assert names(type="text") == names(type="TEXT") == {"a"}
    assert names(type="api-key") == set()


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "x"},
        {"expiring": "-1"},
        {"expiring": "1.5"},
        {"expiring": "36501"},
        {"expiring": "٣"},
        {"rotation": "x"},
        {"unused": "1"},
        {"unused": "3651"},
        {"unused": "-2"},
        {"known_to": "somebody"},
    ],
)
def test_what_cannot_be_is_refused_by_its_name(db: None, parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        names(**parameters)
    assert refused.value.field == next(iter(parameters))


@pytest.mark.parametrize(
    ("text", "deleted"),
    [("true", True), ("1", True), ("TRUE", True), ("false", False), ("0", False), ("", False)],
)
def test_the_deleted_are_asked_for(text: str, deleted: bool) -> None:
    assert wants_deleted({"deleted": text}) is deleted


def test_a_deleted_that_is_neither_is_refused() -> None:
    with pytest.raises(InvalidInput):
        wants_deleted({"deleted": "maybe"})


def test_ages_of_values_divide_all_secrets(cast: Cast) -> None:
    now = timezone.now()
    for name, days in (("new", 1), ("edge", 30), ("middle", 100), ("old", 800)):
        secret = keep(cast, name)
        Secret.objects.filter(pk=secret.pk).update(rotated_at=now - timedelta(days=days))
    never = keep(cast, "never-changed")
    Secret.objects.filter(pk=never.pk).update(rotated_at=None, created_at=now - timedelta(days=200))

    found = [names(age=age) for age in AGES]

    assert found == [{"new"}, {"edge"}, {"middle"}, {"never-changed"}, {"old"}]


@pytest.mark.parametrize("text", ["30", "a-b", "-", "30-x", "-30", "99999999-"])
def test_an_age_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        names(age=text)
