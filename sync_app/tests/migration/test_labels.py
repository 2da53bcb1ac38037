"""What labels of another system become here, and what stays a label alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from secrets_app.values.metadata import MAX_DESCRIPTION, MAX_OWNER
from secrets_app.values.names import MAX_TAGS
from sync_app.migration.labels import described_by, metadata_of


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({}, {}),
        ({"Owner": "shop", "Description": "the database"}, {"owner": "shop", "description": "the database"}),
        ({"team": "shop", "NOTE": "a note"}, {"owner": "shop", "description": "a note"}),
        # The first one is the field, and a second one a tag.
        ({"owner": "shop", "team": "infra"}, {"owner": "shop", "tags": ["team:infra"]}),
        ({"note": "one", "description": "two"}, {"description": "one", "tags": ["description:two"]}),
        # What no field holds is no tag either.
        ({"owner": "x" * (MAX_OWNER + 1)}, {}),
        ({"description": "x" * (MAX_DESCRIPTION + 1)}, {}),
        ({"owner": "x" * MAX_OWNER}, {"owner": "x" * MAX_OWNER}),
        ({"description": "x" * MAX_DESCRIPTION}, {"description": "x" * MAX_DESCRIPTION}),
        ({"Env": "Prod", "plain": ""}, {"tags": ["env:prod", "plain"]}),
        ({"env": "prod", "ENV": "PROD"}, {"tags": ["env:prod"]}),
        ({"env": "no tag!"}, {}),
        # What an export of Keeper's wrote: its tags, and its own marks, which say nothing here.
        ({"keeper-tags": "a,no tag!,b", "keeper-secret": "1"}, {"tags": ["a", "b"]}),
        ({"expires": "2031-05-01T10:00:00+02:00"}, {"expires_at": "2031-05-01T08:00:00.000000+00:00"}),
        # Nobody knows which moment this is.
        ({"expiry": "2031-05-01T10:00:00"}, {"tags": ["expiry:2031-05-01t10:00:00"]}),
        ({"expiry": "2031"}, {"tags": ["expiry:2031"]}),
    ],
)
def test_labels_become_fields_and_tags(labels: dict[str, str], found: dict[str, Any]) -> None:
    assert described_by(labels) == found


def test_a_secret_gets_as_many_tags_as_it_may_have() -> None:
    many = {f"label{number:03}": "" for number in range(MAX_TAGS + 5)}
    assert described_by(many)["tags"] == [*many][:MAX_TAGS]
    ours = {"keeper-tags": ",".join(many), "another": ""}
    assert described_by(ours)["tags"] == [*many][:MAX_TAGS]


def test_a_plan_stores_what_a_secret_gets() -> None:
    stored = described_by({"owner": "shop", "note": "n", "tier": "gold", "expires": "2031-05-01T08:00:00Z"})
    assert metadata_of(stored, {"a": "b"}) == {
        "owner": "shop",
        "description": "n",
        "tags": ["tier:gold"],
        "expires_at": datetime(2031, 5, 1, 8, tzinfo=UTC),
        "custom_metadata": {"a": "b"},
    }
    assert metadata_of({}, {}) == {}
