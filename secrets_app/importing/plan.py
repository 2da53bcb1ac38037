"""Plans an import, entry by entry, before anything is written, and guesses types where none is named.

Nothing is stored between preview and import: the client sends the file again, with the digest of the plan
that it was shown. The digest is a keyed MAC over the user, the environment, each entry's name, type and
value, and the state of the secret that it would change. If any of these differ, the import returns a new
preview instead.

A type is guessed from the value's content, then from its name.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from django.db.models import F

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.interfaces import Purpose, keyring
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.canonical_json import canonical_json
from core.db.bulk import in_batches
from core.errors import Kind
from environments_app.authorization.policy import Principal, allows, require
from environments_app.models import Environment
from secrets_app.errors import InvalidInput, SecretError, TooManyItems
from secrets_app.importing.formats.registry import Entry
from secrets_app.keys import fingerprints
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import can_in_any_scope, find_withdrawn_among
from secrets_app.services.bulk_create import MAX_ITEMS
from secrets_app.services.decoys import note_use
from secrets_app.services.write import new_secret
from secrets_app.types.registry import SecretType, inspect
from secrets_app.values.batch_results import NOT_ALLOWED
from secrets_app.values.metadata import apply_metadata
from secrets_app.values.names import validate_secret_name

_SSH_KEY: Final = r"\s*(?:-----BEGIN OPENSSH PRIVATE KEY-----|(?:ssh|ecdsa)-[a-z0-9-]+ AAAA)"
_CONTENT: Final = (
    (re.compile(r"\s*-----BEGIN CERTIFICATE-----"), SecretType.CERTIFICATE),
    (re.compile(_SSH_KEY), SecretType.SSH_KEY),
    (re.compile(r"\s*[{\[]"), SecretType.JSON),
)
_WORDS: Final = re.compile(r"[^a-z0-9]+")
_PASSWORD: Final = {"password", "passwd", "pass", "pwd", "passphrase"}
_API_KEY: Final = {"key", "apikey", "token"}


def guess_type(name: str, value: str) -> SecretType:
    """Return the type that a value of this name most likely has; text if nothing else fits."""
    for pattern, secret_type in _CONTENT:
        if pattern.match(value):
            return secret_type if _accepts(inspect, secret_type, value) else SecretType.TEXT
    words = set(_WORDS.split(name.rpartition("/")[2].lower()))
    if words & _PASSWORD and _accepts(inspect, SecretType.PASSWORD, value):
        return SecretType.PASSWORD
    return (
        SecretType.API_KEY
        if words & _API_KEY and _accepts(inspect, SecretType.API_KEY, value)
        else SecretType.TEXT
    )


def _accepts(check: Callable[..., object], *arguments: object) -> bool:
    try:
        check(*arguments)
    except InvalidInput:
        return False
    return True


_NAMES_PER_QUERY: Final = 500
SAME_NAME: Final = "An earlier entry has the same name."
_DIGEST_LABEL: Final = "keeper/import-plan/v1"
_ENTRY_LABEL: Final = "keeper/import-entry/v1"


def entry_keys(entries: Sequence[Entry], file: str = "") -> list[str]:
    """Return a key for each entry, by which a correction names it whatever its line.

    It is a keyed MAC of the entry, with a count of equal ones. The key of an entry that a parser could not
    read also covers the text of the file.
    """
    counts: Counter[str] = Counter()
    keys = []
    for entry in entries:
        content = [
            _ENTRY_LABEL,
            ascii(entry.name),
            str(entry.secret_type or ""),
            ascii(entry.value),
            ascii(sorted(entry.metadata.items())),
            [entry.fault, str(entry.place), ascii(file)] if entry.fault else [],
        ]
        # The first 16 bytes of a MAC are the id of its key.
        mac = keyring().mac(Purpose.FINGERPRINT, canonical_json(content))[16:32].hex()
        keys.append(f"{mac}-{counts[mac]}")
        counts[mac] += 1
    return keys


class Verdict(StrEnum):
    """What an import does with an entry."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    # The secret exists, and the import skips existing ones.
    KEPT = "kept"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry and its result; `reason` and `field` state why it is refused."""

    index: int
    entry: Entry
    verdict: Verdict
    secret_type: SecretType
    secret: Secret | None = field(default=None, repr=False)
    reason: str = ""
    field: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All lines in the order of the file, and the digest by which an import names this plan."""

    lines: Sequence[Line]
    digest: str

    def of(self, verdict: Verdict) -> list[Line]:
        return [line for line in self.lines if line.verdict is verdict]


class PlanChanged(SecretError):
    """The import is not the one that was previewed; nothing was written. `plan` is what it would be now."""

    problem = Kind(409, "The plan has changed")

    def __init__(self, plan: Plan) -> None:
        super().__init__("Something changed since your preview. Nothing was imported. Review it again.")
        self.plan = plan


def plan_import(
    *, actor: Principal, environment: Environment, entries: Sequence[Entry], keep_existing: bool = False
) -> Plan:
    """Return what an import of up to 1,000 entries would do; nothing is written.

    Comparing values needs the right to reveal each secret, and is recorded before the answer.

    Raises TooManyItems, and Forbidden or Invisible if nothing may be imported there at all.
    """
    if not can_in_any_scope(actor, Action.SECRET_IMPORT, environment):
        require(actor=actor, action=Action.SECRET_IMPORT, environment=environment)
    if len(entries) > MAX_ITEMS:
        raise TooManyItems(f"A file may hold {MAX_ITEMS:,} entries; this has {len(entries):,}.")
    names = _writable(actor, environment, entries)
    current = _current(environment, names)
    withdrawn = _withdrawn(environment, names)
    _record_comparison(actor, environment, current)
    lines = list(_lines(actor, environment, entries, current, withdrawn, keep_existing=keep_existing))
    return Plan(lines=lines, digest=_digest(actor, environment, lines))


def _lines(
    actor: Principal,
    environment: Environment,
    entries: Sequence[Entry],
    versions: Mapping[str, SecretVersion],
    withdrawn: Mapping[str, Secret],
    *,
    keep_existing: bool,
) -> Iterator[Line]:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        current = versions.get(entry.name)
        secret = current.secret if current else withdrawn.get(entry.name)
        stored_type = SecretType(secret.secret_type) if secret else None
        kind = entry.secret_type or stored_type or guess_type(entry.name, entry.value)
        line = Line(index=index, entry=entry, verdict=Verdict.NEW, secret_type=kind, secret=secret)
        try:
            _check(actor, environment, line, seen)
        except InvalidInput as error:
            yield replace(line, verdict=Verdict.REFUSED, reason=error.reason, field=error.field)
            continue
        seen.add(entry.name)
        if current:
            verdict = Verdict.KEPT if keep_existing else _compared(actor, line, current)
            line = replace(line, verdict=verdict)
            line = _unless_stale(line, current.secret) if verdict is Verdict.CHANGED else line
        elif secret:
            # It is deleted because its current version is: the entry is its next version.
            line = _unless_stale(replace(line, verdict=Verdict.CHANGED), None)
        else:
            line = _unless_stale(line, None)
        yield line


def _unless_stale(line: Line, live: Secret | None) -> Line:
    """Refuse a line whose writer saw another state of the secret, as a row of the matrix does."""
    seen = line.entry.seen
    if seen is None or seen == (live.etag if live else ""):
        return line
    was = f"v{''.join(seen.split('-')[1:2])}" if seen else "missing"
    now = f"v{live.current_number}" if live else "missing"
    now += ", changed otherwise" if was == now else ""
    reason = f"The page shows {was}; it is now {now}. Reload the column to change it."
    return replace(line, verdict=Verdict.REFUSED, reason=reason, field="value")


def _check(actor: Principal, environment: Environment, line: Line, seen: set[str]) -> None:
    entry = line.entry
    if entry.fault:
        raise InvalidInput("value" if entry.name else "name", entry.fault)
    validate_secret_name(entry.name)
    if entry.name in seen:
        raise InvalidInput("name", SAME_NAME)
    if not _may_write(actor, environment, entry.name):
        raise InvalidInput("name", NOT_ALLOWED)
    if line.secret and not line.secret.is_authentic():
        raise InvalidInput("name", "This secret was changed outside Keeper. Contact an operator.")
    new_secret(
        environment=environment,
        name=entry.name,
        secret_type=line.secret_type,
        value=entry.value,
        metadata=entry.metadata,
    )


def _may_write(actor: Principal, environment: Environment, name: str) -> bool:
    rights = (Action.SECRET_IMPORT, Action.SECRET_CREATE, Action.SECRET_UPDATE, Action.SECRET_REVEAL)
    return all(allows(actor, right, environment_id=environment.pk, name=name) for right in rights)


def _compared(actor: Principal, line: Line, current: SecretVersion) -> Verdict:
    secret = current.secret
    # Whether it is equal would confirm a guess of a guarded value.
    same = not secret.guarded and fingerprints.matches(line.entry.value.encode(), bytes(current.fingerprint))
    if same and secret.decoy:
        note_use(actor=actor, secret=secret, action=Action.SECRET_COMPARE)
    retyped = secret.secret_type != line.secret_type
    # On an instance of its own: what is compared here is not what is written later.
    about = (
        apply_metadata(Secret.objects.get(pk=secret.pk), line.entry.metadata) if line.entry.metadata else []
    )
    return Verdict.SAME if same and not retyped and not about else Verdict.CHANGED


def _writable(actor: Principal, environment: Environment, entries: Sequence[Entry]) -> list[str]:
    """Return the names of the entries that the actor may write and read."""
    named = {entry.name for entry in entries if _accepts(validate_secret_name, entry.name)}
    return sorted(name for name in named if _may_write(actor, environment, name))


def _withdrawn(environment: Environment, names: Sequence[str]) -> dict[str, Secret]:
    """Return the secrets of these names that a new value brings back."""
    found: dict[str, Secret] = {}
    for batch in in_batches(names, _NAMES_PER_QUERY):
        found |= find_withdrawn_among(environment, batch)
    return found


def _current(environment: Environment, names: Sequence[str]) -> dict[str, SecretVersion]:
    """Return the current versions of the secrets of these names."""
    versions = {}
    for batch in in_batches(names, _NAMES_PER_QUERY):
        rows = SecretVersion.objects.filter(
            secret__environment=environment,
            secret__live=True,
            secret__name__in=batch,
            number=F("secret__current_number"),
        )
        for version in rows.select_related("secret").defer("value"):
            version.secret.environment = environment
            versions[version.secret.name] = version
    return versions


def _record_comparison(
    actor: Principal, environment: Environment, known: Mapping[str, SecretVersion]
) -> None:
    if not known:
        return
    commit_record(
        actor=actor,
        action=Action.SECRET_COMPARE,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details={"with": "an import", "count": len(known)},
        manifest=[known[name].secret.manifest_entry(known[name].number) for name in sorted(known)],
    )


def _state_of(line: Line) -> str:
    return line.secret.etag if line.secret else ""


def _digest(actor: Principal, environment: Environment, lines: Sequence[Line]) -> str:
    lines_of_plan = [
        [
            ascii(line.entry.name),
            str(line.verdict),
            # What is refused changes no secret: an earlier part of the file may just have made it.
            *(("", "") if line.verdict is Verdict.REFUSED else (str(line.secret_type), _state_of(line))),
            ascii(sorted(line.entry.metadata.items())),
            fingerprints.fingerprint(line.entry.value.encode(errors="surrogatepass")).hex(),
        ]
        for line in lines
    ]
    whole = canonical_json([_DIGEST_LABEL, str(actor.uuid), str(environment.uuid), lines_of_plan])
    return keyring().mac(Purpose.FINGERPRINT, whole).hex()
