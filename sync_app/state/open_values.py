"""Opens values for a target, and compares values of the target with versions of Keeper's.

Values open only after the event that lists them, version by version, is committed.

The version's keyed fingerprint settles a comparison for a system that stores texts. One that stores members
of objects gives the same object back as another text: then Keeper's version is opened, after an event, and
both are compared.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from audit_app.events.actions import Action, Outcome
from audit_app.events.streams import environment_stream
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from environments_app.authorization.policy import Principal
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, SecretError
from secrets_app.keys import data_keys, fingerprints
from secrets_app.models import Secret, SecretVersion
from secrets_app.rows.current_versions import EnvironmentValues, named_data_keys
from sync_app.backends.base import Backend
from sync_app.models import Plan, Target
from sync_app.state.local_state import LocalSecret

_LISTED: Final = 50
_CHANGED: Final = "changed in Keeper since the plan was made: plan again"
_GUARDED: Final = "the secret is guarded: a second person agrees to each read, so no target gets it"


@dataclass(kw_only=True)
class OpenedValues:
    """The values of a batch by version, and which versions did not open; no repr shows a value."""

    values: dict[UUID, str] = field(default_factory=dict, repr=False)
    problems: dict[UUID, str] = field(default_factory=dict)

    def add(self, version: UUID, open: Callable[[], bytes]) -> None:
        """Open a version and keep its value, or why it does not open.

        Raises KeyUnavailable if its key cannot be had now but may be later.
        """
        try:
            self.values[version] = open().decode()
        except SecretError as error:
            if isinstance(error, KeyUnavailable) and not error.permanent:
                raise
            unavailable = isinstance(error, KeyUnavailable)
            self.problems[version] = (
                str(error)
                if unavailable
                else "Keeper's value does not open: ask an operator to run verify_audit"
            )


def open_versions(
    *,
    actor: Principal,
    plan: Plan,
    names: Mapping[UUID, str],
    sources: Mapping[UUID, Secret],
    read: Iterable[LocalSecret] = (),
    step: str = "",
) -> OpenedValues:
    """Open versions, given with the names that they are delivered under, for one batch of a plan.

    `sources` are the versions that are filled in to those, and `read` the current ones whose
    sealed values were read already; `step` names in the event what they are opened for, if they are not
    delivered. One event with a manifest of all of
    them is committed first, and one in each other environment that a source belongs to; versions
    that do not open add another. A guarded one is not opened. Raises KeyUnavailable if keys cannot be had
    now but may be later.
    """
    target = plan.target
    rows = {each.version_uuid: each for each in read if each.version_uuid and each.envelope}
    rows = {uuid: held for uuid, held in rows.items() if uuid in names and uuid not in sources}
    versions = _load_versions(target, {*names, *sources} - rows.keys(), sources)
    # Made a decoy since the plan: no target gets it, and the plan does not tell why.
    decoys = {version.uuid for version in versions if version.secret.decoy}
    guarded = {uuid for uuid, held in rows.items() if held.guarded} | decoys
    guarded |= {version.uuid for version in versions if version.secret.guarded}
    opened = OpenedValues(problems=dict.fromkeys(guarded, _GUARDED) | dict.fromkeys(decoys, _CHANGED))
    rows = {uuid: held for uuid, held in rows.items() if uuid not in guarded}
    versions = [version for version in versions if version.uuid not in guarded]
    if guarded and not rows and not versions:
        return opened
    entries = [held.manifest_entry for held in rows.values()]
    entries += [version.secret.manifest_entry(version.number) for version in versions]
    told: dict[str, Any] = {
        "actor": actor,
        "action": Action.SECRET_DELIVER,
        **stream_and_object(target),
    }
    details: dict[str, Json] = {"plan": str(plan.uuid), "count": len(entries)}
    if step:
        details["step"] = step
    if sources:
        details["filled_in"] = len(sources.keys() - names.keys())
        _record_at_sources(actor, plan, versions)
    receipt = commit_record(
        **told,
        details=details,
        manifest=sorted(entries, key=attrgetter("name")),
        covers=frozenset(uuid.bytes for uuid in (*rows, *(version.uuid for version in versions))),
    )
    _prefetch(
        named_data_keys(held.envelope for held in rows.values()).union(
            version.data_key_id for version in versions if version.data_key_id
        )
    )
    own = EnvironmentValues(target.environment.uuid, receipt)
    for uuid, held in rows.items():
        opened.add(uuid, partial(_open_value, own, held, uuid))
    for version in versions:
        opened.add(version.uuid, partial(version.value.open, receipt))
    if opened.problems:
        failed: list[Json] = [
            names.get(uuid, "what is filled in") for uuid in list(opened.problems)[:_LISTED]
        ]
        count = len(opened.problems)
        commit_record(**told, outcome=Outcome.FAILED, details={**details, "failed": failed, "count": count})
    return opened


def _record_at_sources(actor: Principal, plan: Plan, versions: Sequence[SecretVersion]) -> None:
    """Record for each other environment, in its own stream, which of its values are delivered where."""
    target = plan.target
    others = {version.secret.environment for version in versions} - {target.environment}
    for environment in sorted(others, key=lambda each: each.pk):
        taken = [version for version in versions if version.secret.environment_id == environment.pk]
        commit_record(
            actor=actor,
            action=Action.SECRET_DELIVER,
            stream=environment_stream(environment.uuid),
            object=target.audit_object,
            details={"plan": str(plan.uuid), "count": len(taken), "for": target.environment.name},
            manifest=[version.secret.manifest_entry(version.number) for version in taken],
            covers=frozenset(version.uuid.bytes for version in taken),
        )


def _open_value(own: EnvironmentValues, held: LocalSecret, version: UUID) -> bytes:
    return own.opened(
        held.envelope,
        version=version,
        secret=held.secret_uuid,
        number=held.number,
        guarded=held.guarded,
    )


def _load_versions(
    target: Target, wanted: Collection[UUID], sources: Mapping[UUID, Secret]
) -> list[SecretVersion]:
    if not wanted:
        return []
    rows = SecretVersion.objects.select_related("secret").filter(uuid__in=wanted)
    versions = list(rows.order_by("secret__name"))
    environments = {secret.environment_id: secret.environment for secret in sources.values()}
    environments[target.environment_id] = target.environment
    for version in versions:
        found = environments.get(version.secret.environment_id)
        if found is not None:
            version.secret.environment = found
    return versions


def _prefetch(keys: Collection[UUID]) -> None:
    """Open the data keys with few calls; one that cannot be had is met again at its own version."""
    try:
        data_keys.prefetch(keys)
    except (EnvelopeError, KeyRefused, KeyUnavailable):
        return


# So many values of each side are held at once.
AT_A_TIME: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A value that was read, and the version of Keeper that it may be."""

    name: str
    version: UUID
    fingerprint: bytes
    remote: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ValueMatcher:
    """Compares for one plan."""

    actor: Principal
    plan: Plan
    backend: Backend

    def by_fingerprint(self, comparison: Comparison) -> bool | None:
        """Return whether both are the same; None if only Keeper's value decides. Opens nothing."""
        if fingerprints.matches(comparison.remote.encode(), comparison.fingerprint):
            return True
        return None if self.backend.reformats(comparison.remote) else False

    def by_value(self, comparisons: Sequence[Comparison]) -> list[bool | None]:
        """Open Keeper's versions, and return whether each is the same; None for one that does not open.

        Raises KeyUnavailable.
        """
        names = {each.version: each.name for each in comparisons}
        if not names:
            return []
        opened = open_versions(actor=self.actor, plan=self.plan, names=names, sources={}, step="compare")
        return [
            self.backend.values_equal(opened.values[each.version], each.remote)
            if each.version in opened.values
            else None
            for each in comparisons
        ]

    def matches(self, comparison: Comparison) -> bool | None:
        """Return whether both are the same, by fingerprint or value; None if Keeper's does not open."""
        found = self.by_fingerprint(comparison)
        return self.by_value([comparison])[0] if found is None else found
