"""What an act does where the target's answers contradict each other, or an earlier write was not answered."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from sync_app.applying.item_actions import ItemJob, ItemResult, confirm_write, execute
from sync_app.backends.base import Overwrites
from sync_app.backends.observations import Mark, SecretMetadata, SecretValue
from sync_app.domain.reconciliation import Presence
from sync_app.errors import ChangedSinceRead, OutcomeUnknown
from sync_app.models.plan import Act
from sync_app.planning.draft_items import AdoptMode

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


class Willing(Refusing):
    """A target that does as it is told, and writes down what that was."""

    def __init__(self, *shown: SecretMetadata, value: str = "", **capabilities: bool) -> None:
        super().__init__(*shown, value=value)
        self.capabilities = SimpleNamespace(**{**vars(Refusing.capabilities), **capabilities})
        self.told: list[str] = []

    def update(self, seen: SecretMetadata, *_: Any, **__: Any) -> SecretMetadata:
        self.told.append("update")
        return replace(seen, version="written")

    def delete(self, _seen: SecretMetadata) -> None:
        self.told.append("delete")

    def mark(self, *_: Any) -> None:
        self.told.append("mark")

    def unmark(self, *_: Any) -> None:
        self.told.append("unmark")

    def restore(self, _name: str) -> SecretMetadata:
        self.told.append("restore")
        return self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]

    def revert_write(self, *_: Any) -> None:
        self.told.append("revert")

    def is_older(self, *_: Any) -> bool:
        return False

    def settled(self, seen: SecretMetadata) -> SecretMetadata:
        return seen


# What it is told to restore is written down as well.
Overwrites.register(Willing)


def carried_out(target: Willing, job: ItemJob) -> ItemResult:
    return execute(target, job)  # type: ignore[arg-type]  # what the acts ask of a backend


OTHERS = replace(MARK, target=UUID(int=9))
MEANWHILE: list[dict[str, Any]] = [
    {"version": "2"},
    {"remote_id": "another"},
    {"presence": Presence.DELETED},
    {"mark": OTHERS},
    {"mark": replace(MARK, deployment=UUID(int=9))},
]


@pytest.mark.parametrize("meanwhile", MEANWHILE, ids=str)
@pytest.mark.parametrize("act", [Act.UPDATE, Act.DELETE])
def test_what_is_not_as_it_was_planned_is_neither_written_nor_deleted(
    act: Act, meanwhile: dict[str, Any]
) -> None:
    target = Willing(replace(SEEN, **meanwhile))
    with pytest.raises(ChangedSinceRead):
        carried_out(target, replace(JOB, act=act))
    assert target.told == []


def test_one_that_was_made_anew_with_the_mark_and_version_of_ours_is_not_updated() -> None:
    target = Willing(replace(SEEN, remote_id="another", version=JOB.token))
    with pytest.raises(ChangedSinceRead):
        carried_out(target, JOB)
    assert target.told == []


@pytest.mark.parametrize(
    "meanwhile", [{"version": "2"}, {"remote_id": "another"}, {"presence": Presence.DELETED}]
)
def test_without_marks_the_very_secret_of_the_entry_is_written_and_deleted_alone(
    meanwhile: dict[str, Any],
) -> None:
    for act in (Act.UPDATE, Act.DELETE):
        target = Willing(replace(SEEN, mark=None, **meanwhile), keeps_marks=False)
        with pytest.raises(ChangedSinceRead):
            carried_out(target, replace(JOB, act=act, expected=replace(SEEN, mark=None)))
        assert target.told == []


def test_a_deleted_secret_that_another_client_wrote_again_is_not_brought_back() -> None:
    deleted = replace(SEEN, presence=Presence.DELETED)
    job = replace(JOB, expected=deleted)
    for meanwhile in (
        replace(deleted, version="2"),
        replace(SEEN, version="2"),
        replace(deleted, mark=OTHERS),
    ):
        target = Willing(meanwhile)
        with pytest.raises(ChangedSinceRead):
            carried_out(target, job)
        assert target.told == []
    # Written while it was restored.
    target = Willing(deleted, replace(SEEN, version="2"))
    with pytest.raises(ChangedSinceRead):
        carried_out(target, job)
    assert target.told == ["restore"]


@pytest.mark.parametrize("adoption", AdoptMode)
@pytest.mark.parametrize(
    "meanwhile",
    MEANWHILE,
    ids=str,
)
def test_what_somebody_else_has_marked_or_changed_is_not_adopted(
    adoption: AdoptMode, meanwhile: dict[str, Any]
) -> None:
    expected = replace(SEEN, mark=None)
    job = replace(
        JOB, act=Act.ADOPT, expected=expected, adoption=adoption, other_targets=frozenset({OTHERS.target})
    )
    target = Willing(replace(expected, **meanwhile), value="theirs")
    with pytest.raises(ChangedSinceRead):
        carried_out(target, job)
    assert target.told == []


@pytest.mark.parametrize("kind", [Act.PULL, Act.ADOPT])
def test_a_value_of_another_version_than_was_planned_is_not_fetched(kind: Act) -> None:
    """It is written between the look and the reading of the value."""
    target = Willing(SEEN, value="theirs")
    later = SecretValue(metadata=replace(SEEN, version="2"), value="theirs")
    job = replace(JOB, act=kind, adoption=AdoptMode.TAKE_REMOTE)
    assert carried_out(target, job).remote_value is not None
    for read in (later, None):
        target.read_value = lambda _name, read=read: read  # type: ignore[method-assign, misc]
        with pytest.raises(ChangedSinceRead):
            carried_out(target, job)
    assert target.told == []


@pytest.mark.parametrize(
    ("value", "version", "told"),
    [
        # Marked and written by an attempt that was given up.
        ("ours", "1", []),
        # Its version proves it.
        ("", "token", []),
        ("theirs", "1", ["mark", "update"]),
    ],
)
def test_what_is_adopted_already_is_not_written_again(value: str, version: str, told: list[str]) -> None:
    seen = replace(SEEN, version=version)
    job = replace(JOB, act=Act.ADOPT, expected=seen, adoption=AdoptMode.OVERWRITE)
    target = Willing(seen, value=value)
    carried_out(target, job)
    assert target.told == told


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"remote_id": "another"},
        {"remote_id": "another", "mark": None},
        {"presence": Presence.DELETED},
        {"mark": OTHERS},
        {"mark": None},
    ],
    ids=str,
)
def test_the_version_of_our_write_in_another_secret_proves_no_adoption(meanwhile: dict[str, Any]) -> None:
    """Each client of AWS chooses the ids of versions: a copy may carry ours, and hold another value."""
    expected = replace(SEEN, mark=None)
    job = replace(
        JOB,
        act=Act.ADOPT,
        expected=expected,
        adoption=AdoptMode.OVERWRITE,
        other_targets=frozenset({OTHERS.target}),
    )
    written = replace(SEEN, version=JOB.token)
    assert carried_out(Willing(written), job).metadata == written
    target = Willing(replace(written, **meanwhile), value="theirs")
    with pytest.raises(ChangedSinceRead):
        carried_out(target, job)
    assert target.told == []


def test_a_value_that_was_read_of_another_version_proves_no_adoption() -> None:
    job = replace(JOB, act=Act.ADOPT, adoption=AdoptMode.OVERWRITE)
    for read in (SecretValue(metadata=replace(SEEN, version="2"), value="ours"), None):
        target = Willing(SEEN)
        target.read_value = lambda _name, read=read: read  # type: ignore[method-assign, misc]
        carried_out(target, job)
        assert target.told == ["mark", "update"]


def test_a_write_is_confirmed_by_the_version_that_it_made_over_the_one_that_was_planned() -> None:
    written = ItemResult(metadata=replace(SEEN, version="token"))

    def confirmed(now: SecretMetadata) -> tuple[ItemResult, list[str]]:
        target = Willing(now)
        done = confirm_write(target, JOB, written, None)  # type: ignore[arg-type]  # as above
        return done, target.told

    done, told = confirmed(replace(SEEN, version="token", previous_version="1"))
    assert (done.is_confirmed, done.metadata.version, told) == (True, "token", [])
    # Another client has changed it since: it was there, and theirs stays.
    done, told = confirmed(replace(SEEN, version="3", previous_version="token"))
    assert (done.is_confirmed, done.metadata.version, told) == (True, "token", [])
    for now in (
        replace(SEEN, version="token", previous_version="2"),
        replace(SEEN, version="token", previous_version="1", remote_id="another"),
        replace(SEEN, version="3", previous_version="2"),
    ):
        target = Willing(now)
        with pytest.raises(ChangedSinceRead):
            confirm_write(target, JOB, written, None)  # type: ignore[arg-type]  # as above
        assert target.told == ["revert"]


@pytest.mark.parametrize(("act", "told"), [(Act.UPDATE, "update"), (Act.DELETE, "delete")])
def test_without_marks_what_the_entry_knows_is_written_and_deleted(act: Act, told: str) -> None:
    seen = replace(SEEN, mark=None)
    job = replace(JOB, act=act, expected=seen)
    target = Willing(seen, keeps_marks=False)
    carried_out(target, job)
    assert target.told[0] == told
    # Unless nothing is known of it.
    for unknown, shown in (
        (replace(job, marks=frozenset()), seen),
        (replace(job, expected=replace(seen, remote_id="")), replace(seen, remote_id="")),
    ):
        target = Willing(shown, keeps_marks=False)
        with pytest.raises(ChangedSinceRead):
            carried_out(target, unknown)
        assert target.told == []
