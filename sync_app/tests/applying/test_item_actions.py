"""What an act does where the target's answers contradict each other, or an earlier write was not answered."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from sync_app.applying.item_actions import ItemJob, execute
from sync_app.backends.observations import Mark, SecretMetadata, SecretValue
from sync_app.domain.reconciliation import Presence
from sync_app.errors import ChangedSinceRead, OutcomeUnknown
from sync_app.models.plan import Act

MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))
SEEN = SecretMetadata(name="one", presence=Presence.PRESENT, remote_id="id", version="1", mark=MARK)
JOB = ItemJob(act=Act.UPDATE, expected=SEEN, mark=MARK, marks=frozenset({MARK}), token="token", value="ours")


class Refusing:
    """A target that shows what it is given, and refuses each write as made over another version."""

    capabilities = SimpleNamespace(
        reads_values=True,
        keeps_marks=True,
        update_checks_mark=False,
        predicted_version_is_unique=False,
        may_overwrite=False,
    )

    def __init__(self, *shown: SecretMetadata, value: str = "") -> None:
        self.shown, self.value = [*shown], value

    def get_metadata(self, _name: str) -> SecretMetadata:
        return self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]

    def read_value(self, _name: str) -> SecretValue:
        return SecretValue(metadata=self.shown[0], value=self.value)

    def update(self, *_: Any, **__: Any) -> SecretMetadata:
        raise ChangedSinceRead("another version is there")

    def predict_version(self, _version: str, *, token: str) -> str:
        return f"of {token}"

    def is_write_of(self, seen: SecretMetadata, intended: str) -> bool:
        return seen.version == intended

    def values_equal(self, ours: str, theirs: str) -> bool:
        return ours == theirs


def test_a_refusal_that_no_look_explains_is_looked_at_again() -> None:
    with pytest.raises(OutcomeUnknown):
        execute(Refusing(SEEN), JOB)  # type: ignore[arg-type]  # what an update asks of a backend


@pytest.mark.parametrize(
    "later",
    [{"version": "2"}, {"mark": None}, {"presence": Presence.DELETED}],
    ids=["version", "mark", "deleted"],
)
def test_a_refusal_that_a_look_explains_is_a_change(later: dict[str, Any]) -> None:
    with pytest.raises(ChangedSinceRead):
        execute(Refusing(SEEN, replace(SEEN, **later)), JOB)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("value", ["ours", "theirs"])
def test_a_version_of_the_expected_number_is_ours_by_its_value_alone(value: str) -> None:
    """Another client's write takes the number that ours would have had."""
    job = replace(JOB, unanswered="2")
    target = Refusing(replace(SEEN, version="2"), value=value)
    if value == "ours":
        assert execute(target, job).metadata.version == "2"  # type: ignore[arg-type]  # as above
        return
    with pytest.raises(ChangedSinceRead):
        execute(target, job)  # type: ignore[arg-type]  # as above
