"""Judges secrets of a source against Keeper's: the line of each in the plan, and what would be stored.

A plan and its application judge alike, from what the source holds at that moment. No value is stored with a
line, only keyed fingerprints.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from audit_app.events.actions import Action
from core.canonical_json import utc_text
from core.db.bulk import in_batches
from environments_app.authorization.policy import Principal, allows
from environments_app.models import Environment
from secrets_app.errors import InvalidInput
from secrets_app.importing.plan import guess_type
from secrets_app.keys import fingerprints
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.models.origin import MAX_ORIGIN
from secrets_app.services.decoys import note_use
from secrets_app.services.histories import CARRIED, CarriedVersion, History, checked_history
from secrets_app.types.bounds import check_bounds
from secrets_app.types.registry import SecretType
from secrets_app.values.versions import first_numbers
from sync_app.migration import labels, placing
from sync_app.migration.placing import Placed
from sync_app.migration.sources.base import COUNTED, Found, FoundVersion, Value
from sync_app.models.migration import Migration, MigrationLine, Word

MAX_VERSIONS: Final = 100
# The tag of a value that was no text in the source.
BINARY: Final = "binary:base64"
_NOT_ALLOWED: Final = "the requester may not import and create it there"
_ELSEWHERE: Final = "it has another name in Keeper by now, where the requester may not import and create"
_NO_ENVIRONMENT: Final = "the rule's environment does not exist any more"
_EXISTS: Final = (
    "a secret of this name is in Keeper, and does not come from there: keep it, or take the source's"
)
_BOTH: Final = "Keeper and the source have versions of their own: keep Keeper's, or take the source's"
_ANOTHER: Final = (
    "the source has another history than the one that was carried: keep Keeper's, or take the source's"
)
_FORMER: Final = (
    "a deleted secret of this name has versions of these numbers: restore it, or delete it permanently"
)
_OTHER: Final = "its name there has characters that names in Keeper have not"
_LONG: Final = f"its path there has more than {MAX_ORIGIN:,} characters"
_TAKEN: Final = "another path of the source has its name in Keeper"
_GONE: Final = "a version changed in the source while it was read: plan again"
_WRITING: Final = frozenset({Word.NEW, Word.RENAMED, Word.NEWER, Word.CHANGED})


@dataclass(frozen=True)
class Seen:
    """A secret as a pass has read it: where it lies, and the values by number; none is stored."""

    place: str
    found: Found
    values: Mapping[int, Value | None] = field(default_factory=dict, repr=False)


class Judged(NamedTuple):
    """The line of a secret, not stored, and what would be stored of it; None for nothing."""

    line: MigrationLine
    history: History | None


@dataclass(frozen=True, kw_only=True)
class Existing:
    """A living secret with its version rows by number, and the origins of those that were carried."""

    secret: Secret
    numbers: Sequence[int]
    fingerprints: Mapping[int, bytes]
    origins: Sequence[tuple[int, VersionOrigin]]

    def carried_from(self, system: str, place: str, path: str) -> dict[int, tuple[int, VersionOrigin]]:
        """Return the versions that come from a path as it is now, by their number there.

        Numbers there grow. Where they begin again, the secret was deleted and written anew.
        """
        found: dict[int, tuple[int, VersionOrigin]] = {}
        for number, origin in reversed(self.origins):
            is_mine = (origin.system, origin.place, origin.path) == (system, place, path)
            there = origin.number or 0
            if is_mine and origin.is_authentic():
                if found and there >= min(found):
                    break
                found[there] = (number, origin)
        return found

    def carried_ids(self, system: str, place: str, path: str) -> dict[str, int]:
        """Return the versions that come from a path, by their identifiers there; the last one of each."""
        return {
            origin.identifier: number
            for number, origin in self.origins
            if origin.identifier
            and (origin.system, origin.place, origin.path) == (system, place, path)
            and origin.is_authentic()
        }

    def is_of_renamed(self, system: str, place: str, path: str) -> bool:
        """Return whether this has come from another path, which was renamed to this name."""
        paths = {each.path for _, each in self.origins if (each.system, each.place) == (system, place)}
        return path not in paths and any(each != placing.usable_name(each) for each in paths)


class Judge:
    """Judges batches of one pass; it keeps which names the pass has given."""

    def __init__(self, migration: Migration, actor: Principal, system: str) -> None:
        self._migration, self.actor = migration, actor
        self._system = system
        self._rules = {each["place"]: placing.Rule.of(each) for each in migration.rules}
        uuids = {uuid for rule in self._rules.values() for uuid in rule.environments.values()}
        self._environments = {str(each.uuid): each for each in Environment.objects.filter(uuid__in=uuids)}
        # By environment and name: the path that has it.
        self._names: dict[tuple[str, str], tuple[str, str]] = {}
        # By environment, place and path: the name that what was carried has by now, where it was renamed.
        self._present = self._renamed()

    def note(self, line: MigrationLine) -> None:
        """Take over a name that an earlier part of the pass gave."""
        if line.name and line.word != Word.REFUSED:
            self._names[str(line.environment_uuid), line.name] = (line.place, line.path)

    def reserve(self, paths: Sequence[tuple[str, str]]) -> None:
        """Let each path whose name Keeper takes as it is have that name, before another is renamed to it."""
        for place, path in paths:
            rule = self._rules.get(place)
            placed = placing.place(rule, path) if rule else None
            if placed and placed.name and placed.name == placing.usable_name(placed.name):
                self._names.setdefault((placed.environment, placed.name), (place, path))

    def environment(self, uuid: object) -> Environment | None:
        return self._environments.get(str(uuid))

    def to_open(self, batch: Sequence[Seen]) -> Iterator[tuple[Seen, FoundVersion]]:
        """Yield the versions whose values decide: not those that have been carried already."""
        existing = self._existing(batch)
        for seen in batch:
            found, placed = seen.found, self._placed(seen)
            if found.skip or found.fault or placed.fault or placed.environment not in self._environments:
                continue
            known = self._known(existing, placed, seen)
            for version in self._not_carried(known, seen)[-MAX_VERSIONS:]:
                if not version.state:
                    yield seen, version

    def _not_carried(self, known: Existing | None, seen: Seen) -> Sequence[FoundVersion]:
        """Return the versions that Keeper does not have from there yet, judged without values."""
        found, where = seen.found, (self._system, seen.place, seen.found.path)
        if known and found.is_numbered:
            mine = known.carried_from(*where)
            if mine and _is_same_history(mine, found):
                return [each for each in found.versions if each.number > max(mine)]
        elif known and (ids := known.carried_ids(*where)):
            return _newer(ids, found)
        return found.versions

    def judge(self, batch: Sequence[Seen]) -> list[Judged]:
        """Return the line of each secret, in their order."""
        existing = self._existing(batch)
        former: dict[tuple[str, str], int] = {}
        for uuid, environment in self._environments.items():
            names = [self._placed(seen).name for seen in batch]
            former |= {(uuid, name): first for name, first in first_numbers(environment, names).items()}
        return [self._judged(seen, existing, former) for seen in batch]

    def _placed(self, seen: Seen) -> Placed:
        rule = self._rules.get(seen.place)
        if rule is None:
            return Placed("", "", "no rule names its place")
        placed = placing.place(rule, seen.found.path)
        return placed._replace(name=placing.usable_name(placed.name)) if placed.name else placed

    def _existing(self, batch: Sequence[Seen]) -> dict[tuple[str, str], Existing]:
        found: dict[tuple[str, str], Existing] = {}
        self._add(found, {(placed.environment, placed.name) for placed in map(self._placed, batch)})
        wheres = [(self._placed(seen).environment, seen.place, seen.found.path) for seen in batch]
        self._add(found, {(where[0], self._present[where]) for where in wheres if where in self._present})
        near: set[tuple[str, str]] = set()
        for seen in batch:
            placed = self._placed(seen)
            if self._is_moved(found, placed, seen) and (place := self._environments.get(placed.environment)):
                near |= {(placed.environment, name) for name in placing.numbered_names(place, placed.name)}
        self._add(found, near)
        return found

    def _renamed(self) -> dict[tuple[str, str, str], str]:
        """Return the names that Keeper's people gave to what was carried: by no rule it has that name."""
        of = "version__secret__"
        rows = VersionOrigin.objects.filter(
            system=self._system,
            place__in=[*self._rules],
            version__secret__live=True,
            version__secret__environment__uuid__in=[*self._environments],
        ).order_by()
        columns = ("migration", "place", "path", f"{of}environment__uuid", f"{of}name")
        rules: dict[Any, list[placing.Rule]] = {}
        found: dict[tuple[str, str, str], str] = {}
        for migration, place, path, uuid, name in rows.values_list(*columns).distinct().iterator(2_000):
            if migration not in rules:
                stored = Migration.objects.filter(uuid=migration).values_list("rules", flat=True).first()
                rules[migration] = [placing.Rule.of(each) for each in stored or ()]
            used = [*self._rules.values(), *rules[migration]]
            given = [placing.place(rule, path) for rule in used if rule.place == place]
            is_by_rule = any(
                each.name and placing.is_numbered_name(name, placing.usable_name(each.name)) for each in given
            )
            if not is_by_rule:
                found[str(uuid), place, path] = name
        return found

    def _add(self, found: dict[tuple[str, str], Existing], wanted: set[tuple[str, str]]) -> None:
        for uuid, environment in self._environments.items():
            for some in in_batches(sorted(name for place, name in wanted if place == uuid)):
                found |= _stored(environment, some)

    def _is_moved(self, existing: Mapping[tuple[str, str], Existing], placed: Placed, seen: Seen) -> bool:
        """Return whether a path cannot have the name of its own: of other characters, or another path's."""
        if not placed.name:
            return False
        if placing.place(self._rules[seen.place], seen.found.path).name != placed.name:
            return True
        known = existing.get((placed.environment, placed.name))
        return known is not None and known.is_of_renamed(self._system, seen.place, seen.found.path)

    def _known(
        self, existing: Mapping[tuple[str, str], Existing], placed: Placed, seen: Seen
    ) -> Existing | None:
        return existing.get((placed.environment, self._name(existing, placed, seen)))

    def _name(self, existing: Mapping[tuple[str, str], Existing], placed: Placed, seen: Seen) -> str:
        """Return the name by which a path was carried; else its own, or the first that no other has."""
        mine = (seen.place, seen.found.path)
        if carried := self._carried_name(existing, placed, mine):
            return carried
        if not self._is_moved(existing, placed, seen):
            return placed.name
        taken = {name for environment, name in existing if environment == placed.environment}
        taken |= {
            name
            for (place, name), path in self._names.items()
            if place == placed.environment and path != mine
        }
        return placing.free_name(placed.name, taken)

    def _carried_name(
        self, existing: Mapping[tuple[str, str], Existing], placed: Placed, mine: tuple[str, str]
    ) -> str:
        """Return the name of the secret that has come from a path; empty if none has."""
        for environment, name in sorted(existing):
            is_near = environment == placed.environment and placing.is_numbered_name(name, placed.name)
            if is_near and existing[environment, name].carried_from(self._system, *mine):
                return name
        present = self._present.get((placed.environment, *mine), "")
        known = existing.get((placed.environment, present))
        return present if known and known.carried_from(self._system, *mine) else ""

    def _has_name(
        self, existing: Mapping[tuple[str, str], Existing], placed: Placed, name: str, mine: tuple[str, str]
    ) -> bool:
        """Return whether a path has its name in this pass: by what it carried, or as the first one."""
        if self._carried_name(existing, placed, mine):
            self._names[placed.environment, name] = mine
        return self._names.setdefault((placed.environment, name), mine) == mine

    def _judged(  # noqa: PLR0911 - one return a word
        self, seen: Seen, existing: Mapping[tuple[str, str], Existing], former: Mapping[tuple[str, str], int]
    ) -> Judged:
        found, placed = seen.found, self._placed(seen)
        line = MigrationLine(
            migration=self._migration,
            plan=self._migration.plan,
            place=seen.place,
            path=found.path[:MAX_ORIGIN],
            word=Word.NEW,
        )
        for word, why in (
            (Word.REFUSED, _LONG if len(found.path) > MAX_ORIGIN else ""),
            (Word.SKIPPED, found.skip), (Word.UNREADABLE, found.fault), (Word.REFUSED, placed.fault),
        ):  # fmt: skip
            if why:
                return _ended(line, word, why)
        environment = self._environments.get(placed.environment)
        if environment is None:
            return _ended(line, Word.REFUSED, _NO_ENVIRONMENT)
        name = self._name(existing, placed, seen)
        is_renamed = placing.place(self._rules[seen.place], found.path).name != name
        line.environment_uuid, line.name = environment.uuid, name
        if not self._has_name(existing, placed, name, (seen.place, found.path)):
            return _ended(line, Word.REFUSED, "another path of the source has this name: change the rules")
        rights = (Action.SECRET_IMPORT, Action.SECRET_CREATE)
        if not all(allows(self.actor, each, environment_id=environment.pk, name=name) for each in rights):
            return _not_allowed(line, placed)
        try:
            known = existing.get((placed.environment, name))
            if known is not None:
                return _named(self._compared(line, seen, known), placed)
            line.word = Word.RENAMED if is_renamed else Word.NEW
            if is_renamed:
                line.reason = _TAKEN if name != placed.name else _OTHER
            offset = former.get((placed.environment, name), 1) - 1
            versions = found.versions[-MAX_VERSIONS:]
            if offset and found.is_numbered and versions[0].number <= offset:
                return _ended(line, Word.REFUSED, _FORMER)
            numbers = {
                each.number: each.number if found.is_numbered else offset + each.number for each in versions
            }
            return self._carried(line, seen, numbers, None)
        except InvalidInput as error:
            return _ended(line, Word.REFUSED, f"{error.field}: {error.reason}")

    def _compared(self, line: MigrationLine, seen: Seen, known: Existing) -> Judged:
        """Return the line of a secret that is in Keeper as well."""
        found, secret = seen.found, known.secret
        line.secret_uuid, line.etag = secret.uuid, secret.etag
        # A decoy is judged as any other secret: a plan does not tell that it is one.
        if secret.guarded:
            raise InvalidInput("value", "The secret is guarded here: write its value in Keeper.")
        mine = known.carried_from(self._system, seen.place, found.path)
        top = max(known.numbers)
        ids = known.carried_ids(self._system, seen.place, found.path)
        if ids and not found.is_numbered:
            newer = _newer(ids, found)[-MAX_VERSIONS:]
            line.word = Word.NEWER if newer else Word.SAME
            if newer and top > max(ids.values()):
                line.word, line.reason = Word.CHANGED, _BOTH
            numbers = {each.number: top + count for count, each in enumerate(newer, 1)}
            return self._carried(line, seen, numbers, secret) if newer else Judged(line, None)
        current = next(each for each in found.versions if each.number == found.current)
        if not found.is_numbered or not mine:
            value = seen.values.get(current.number)
            last = max((number for number, _ in mine.values()), default=secret.current_number)
            if value is not None and _is_value(value, secret, known.fingerprints.get(last, b"")):
                self._note_equal(secret, is_mine=bool(mine))
                line.word = Word.SAME
                return Judged(line, None)
            is_own = not mine or top > last
            line.word, line.reason = (
                (Word.CHANGED, _BOTH if mine else _EXISTS) if is_own else (Word.NEWER, "")
            )
            return self._carried(line, seen, {current.number: top + 1}, secret)
        if not _is_same_history(mine, found):
            line.word, line.reason = Word.CHANGED, _ANOTHER
            return self._carried(line, seen, {current.number: top + 1}, secret)
        newer = [each for each in found.versions if each.number > max(mine)][-MAX_VERSIONS:]
        if not newer:
            line.word = Word.SAME
            return Judged(line, None)
        line.word = Word.NEWER
        if top > max(number for number, _ in mine.values()):
            line.word, line.reason = Word.CHANGED, _BOTH
        numbers = {}
        for each in newer:
            top = max(top + 1, each.number)
            numbers[each.number] = top
        return self._carried(line, seen, numbers, secret)

    def _note_equal(self, secret: Secret, *, is_mine: bool) -> None:
        """Note an equal value as a use of a decoy, unless it was carried from there: that is no guess."""
        if secret.decoy and not is_mine:
            note_use(actor=self.actor, secret=secret, action=Action.SECRET_COMPARE)

    def _carried(
        self, line: MigrationLine, seen: Seen, numbers: Mapping[int, int], secret: Secret | None
    ) -> Judged:
        """Return the line with the versions of these numbers there, by the numbers that they get here."""
        found = seen.found
        there = [each for each in found.versions if each.number in numbers]
        gone = [each.number for each in there if not each.state and seen.values.get(each.number) is None]
        if gone or found.current not in numbers:
            return _ended(line, Word.UNREADABLE, _GONE)
        kind = _kind(line.name, [value for each in there if (value := seen.values.get(each.number))], secret,
                     seen.values[found.current])  # fmt: skip
        if secret is None and found.secret_type is not None:
            kind = found.secret_type
        versions = [
            _version(
                each, numbers[each.number], seen.values.get(each.number), kind, is_numbered=found.is_numbered
            )
            for each in there
        ]
        # Each is a text that Keeper takes, before it is fingerprinted.
        for version in versions:
            if version.value is not None:
                check_bounds(version.value)
        readable = [each.number for each in versions if each.value is not None]
        described = labels.described_by(found.labels) if found.described is None else dict(found.described)
        if any(value is not None and value.is_binary for value in seen.values.values()):
            described["tags"] = sorted({*described.get("tags", ()), BINARY})
        limit = {"max_versions": found.max_versions} if found.max_versions else {}
        line.versions = [_stored_version(each) for each in versions]
        line.described = {
            "fields": described, "labels": dict(found.labels), "type": str(kind), **limit,
        }  # fmt: skip
        metadata = labels.metadata_of(described, found.labels)
        if found.max_versions and secret is None:
            metadata["max_versions"] = found.max_versions
        current = numbers[found.current]
        previous = max((number for number in readable if number < current), default=None)
        if secret is None and found.previous != COUNTED:
            previous = numbers.get(found.previous or 0)
        line.reason = line.reason or found.note
        history = History(
            name=line.name,
            place=seen.place,
            path=found.path,
            secret_type=kind,
            versions=versions,
            current=current,
            previous=previous,
            metadata=metadata if secret is None else {},
            secret=secret,
            expected=secret.etag if secret else "",
        )
        checked_history(history)
        return Judged(line, history)


def is_writing(line: MigrationLine) -> bool:
    """Return whether a line has something to store, if it is chosen."""
    return line.word in _WRITING and bool(line.versions)


def is_as_planned(line: MigrationLine, now: MigrationLine) -> bool:
    """Return whether a secret is judged now as the plan has it."""
    names = ("environment_uuid", "name", "word", "versions", "described", "secret_uuid", "etag")
    return all(getattr(line, name) == getattr(now, name) for name in names)


def _ended(line: MigrationLine, word: Word, reason: str) -> Judged:
    line.word, line.reason, line.versions, line.described = word, reason[:500], [], {}
    return Judged(line, None)


def _not_allowed(line: MigrationLine, placed: Placed) -> Judged:
    """Refuse a line; the name that people gave to what was carried is not for who may not write there."""
    if placing.is_numbered_name(line.name, placed.name):
        return _ended(line, Word.REFUSED, _NOT_ALLOWED)
    line.name = placed.name
    return _ended(line, Word.REFUSED, _ELSEWHERE)


def _named(judged: Judged, placed: Placed) -> Judged:
    """Say in the line under which name it was carried, if people have renamed it since."""
    line = judged.line
    if not placing.is_numbered_name(line.name, placed.name):
        line.reason = "; ".join(filter(None, (line.reason, f"carried as {line.name}")))[:500]
    return judged


def _stored(environment: Environment, names: Sequence[str]) -> dict[tuple[str, str], Existing]:
    secrets = Secret.objects.filter(environment=environment, live=True, name__in=names)
    by_pk = {}
    for secret in secrets:
        secret.environment = environment
        by_pk[secret.pk] = secret
    rows: dict[int, list[SecretVersion]] = {pk: [] for pk in by_pk}
    versions = SecretVersion.objects.filter(secret__in=list(by_pk)).select_related("origin").defer("value")
    for version in versions.order_by("number"):
        rows[version.secret_id].append(version)
    found = {}
    for pk, secret in by_pk.items():
        origins = []
        for version in rows[pk]:
            if (origin := getattr(version, "origin", None)) is not None:
                origin.version = version
                origins.append((version.number, origin))
        found[str(environment.uuid), secret.name] = Existing(
            secret=secret,
            numbers=[version.number for version in rows[pk]],
            fingerprints={version.number: bytes(version.fingerprint) for version in rows[pk]},
            origins=origins,
        )
    return found


def _is_same_history(mine: Mapping[int, tuple[int, VersionOrigin]], found: Found) -> bool:
    """Return whether what was carried is the beginning of what the source has."""
    if found.current < max(mine):
        return False
    return all(
        each.number not in mine or mine[each.number][1].written_at == each.written_at
        for each in found.versions
    )


def _newer(ids: Mapping[str, int], found: Found) -> list[FoundVersion]:
    """Return the versions since the last that was carried; the current one, if an older one is that again.

    Those without a time count as since then.
    """
    times = [each.written_at for each in found.versions if each.identifier in ids and each.written_at]
    since = max(times, default=None)
    newer = [
        each
        for each in found.versions
        if each.identifier not in ids
        and (since is None or each.written_at is None or each.written_at >= since)
    ]
    last = max(ids, key=lambda each: ids[each])
    return newer or [
        each for each in found.versions if each.number == found.current and each.identifier != last
    ]


def _is_value(value: Value, secret: Secret, fingerprint: bytes) -> bool:
    if not fingerprint:
        return False
    is_whole = secret.secret_type == SecretType.JSON and value.fields
    text = value.fields if is_whole or value.text is None else value.text
    return fingerprints.matches(text.encode(), fingerprint)


def _kind(name: str, values: Sequence[Value], secret: Secret | None, current: Value | None) -> SecretType:
    """Return the type of all versions: JSON unless each is one text."""
    if secret is not None and secret.secret_type == SecretType.JSON:
        return SecretType.JSON
    if current is None or any(value.text is None for value in values):
        return SecretType.JSON
    if secret is not None:
        return SecretType(secret.secret_type)
    guessed = guess_type(name, current.text or "")
    # An object of fields is read by clients as these fields, and one text under `value` as that text.
    return SecretType.TEXT if guessed is SecretType.JSON and current.fields else guessed


def _version(
    there: FoundVersion, number: int, value: Value | None, kind: SecretType, *, is_numbered: bool
) -> CarriedVersion:
    text = None
    if value is not None and not there.state:
        text = value.text if kind is not SecretType.JSON or not value.fields else value.fields
    return CarriedVersion(
        number=number,
        value=text,
        state=there.state,
        deleted_at=there.deleted_at,
        written_at=there.written_at,
        author=there.author,
        number_there=there.number if is_numbered else None,
        identifier=there.identifier,
        comment=CARRIED if there.comment is None else there.comment,
    )


def _stored_version(version: CarriedVersion) -> list[Any]:
    fingerprint = "" if version.value is None else fingerprints.fingerprint(version.value.encode()).hex()
    written = utc_text(version.written_at) if version.written_at else ""
    ends = [utc_text(version.deleted_at)] if version.value is not None and version.deleted_at else []
    return [version.number, version.number_there, written, version.author, version.state, fingerprint, *ends]


def line_digest(line: MigrationLine) -> bytes:
    """Return what the digest of the plan covers of a line."""
    what = [
        line.place, line.path, str(line.environment_uuid or ""), line.name, str(line.word), line.versions,
        line.described, str(line.secret_uuid or ""), line.etag,
    ]  # fmt: skip
    return json.dumps(what, sort_keys=True, separators=(",", ":")).encode() + b"\n"
