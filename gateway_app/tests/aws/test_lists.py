"""Which names a list shows, page by page, and which values many are asked for together."""

from typing import Any

import pytest

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from gateway_app.aws import operations
from gateway_app.tests.aws.conftest import Ask, kind_of
from secrets_app.models import Secret
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.django_db


def names(ask: Ask, **members: Any) -> list[str]:
    return [each["Name"] for each in ask("ListSecrets", **members).json()["SecretList"]]


def by(ask: Ask, *filters: tuple[str, str]) -> list[str]:
    return names(ask, Filters=[{"Key": key, "Values": [value]} for key, value in filters])


def test_a_list_goes_on_where_the_database_was_read_in_parts(
    cast: Cast, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_CHUNK", 2)
    every = [f"app/{letter}" for letter in "abcde"]
    for name in every:
        keep(cast, name)
    assert names(ask) == every
    assert names(ask, SortOrder="desc") == every[::-1]
    # What is let through lies in the last part.
    assert by(ask, ("all", "e")) == every[-1:]
    page = ask("ListSecrets", MaxResults=3).json()
    assert names(ask, MaxResults=3, NextToken=page["NextToken"]) == every[3:]


def test_the_last_page_is_full_and_names_no_other(cast: Cast, ask: Ask) -> None:
    for name in ("a", "b"):
        keep(cast, name)
    assert "NextToken" not in ask("ListSecrets", MaxResults=2).json()


def test_an_edited_row_is_not_listed(cast: Cast, ask: Ask) -> None:
    edited = keep(cast, "app/edited", tags=["x"])
    keep(cast, "app/sound", tags=["x"])
    Secret.objects.filter(pk=edited.pk).update(secret_type=SecretType.JSON)
    assert names(ask) == by(ask, ("tag-key", "x")) == ["app/sound"]


def test_what_lies_in_another_environment_is_not_listed(cast: Cast, ask: Ask) -> None:
    keep(cast, "ours")
    keep(cast, "theirs", environment=cast.production)
    assert names(ask) == by(ask, ("all", "s")) == ["ours"]


def test_each_filter_has_to_let_a_name_through(cast: Cast, ask: Ask) -> None:
    for name in ("app/a", "app/b", "other"):
        keep(cast, name, tags=["x"])
    assert by(ask, ("name", "app/"), ("name", "!app/b"), ("tag-key", "x")) == ["app/a"]
    assert by(ask, ("name", "app/a"), ("name", "other")) == []
    # Tags here have no value.
    assert by(ask, ("tag-value", "x")) == []
    assert by(ask, ("tag-value", "!x")) == by(ask, ("tag-value", "")) == ["app/a", "app/b", "other"]


def test_a_version_is_listed_by_the_labels_of_its_own_secret(cast: Cast, ask: Ask) -> None:
    """The first version of one is current, and that of the other has no label any more."""
    keep(cast, "one")
    change(cast, change(cast, keep(cast, "three"), value="2"), value="3")
    listed = ask("ListSecrets").json()["SecretList"]
    labels = {each["Name"]: sorted(each["SecretVersionsToStages"].values()) for each in listed}
    assert labels == {"one": [["AWSCURRENT"]], "three": [["AWSCURRENT"], ["AWSPREVIOUS"]]}


def test_a_token_that_is_longer_than_any_that_was_given_is_refused(ask: Ask) -> None:
    most = operations._MAX_TOKEN
    assert ask("ListSecrets", NextToken="YWFh" * (most // 4)).status_code == 200
    assert kind_of(ask("ListSecrets", NextToken="YWFh" * (most // 4 + 1))) == "InvalidNextTokenException"


@pytest.mark.parametrize("wanted", [{"Values": ["app/trap"]}, {"Values": ["app/t"]}])
def test_a_decoy_that_nothing_else_lies_beside_is_a_use_of_it(
    cast: Cast, ask: Ask, wanted: dict[str, Any]
) -> None:
    keep(cast, "app/trap", decoy=True)
    assert ask("BatchGetSecretValue", Filters=[{"Key": "name", **wanted}]).json()["SecretValues"] == []
    assert AuditEvent.objects.filter(action=Action.SECRET_DECOY).exists()
