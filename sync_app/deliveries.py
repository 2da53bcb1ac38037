"""Opens values for a target: only after the event that lists them, version by version, is committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from audit_app.actions import Action, Outcome
from audit_app.canonical import Json
from audit_app.record import commit_record
from audit_app.streams import environment_stream
from environments_app.policy import Principal
from secrets_app import data_keys
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, SecretError
from secrets_app.models import Secret, SecretVersion
from sync_app.models import Plan, Target

_LISTED: Final = 50


@dataclass(kw_only=True)
class Opened:
    """The values of a batch by version, and which versions did not open; no repr shows a value."""

    values: dict[UUID, str] = field(default_factory=dict, repr=False)
    problems: dict[UUID, str] = field(default_factory=dict)


def open_versions(
    *, actor: Principal, plan: Plan, names: Mapping[UUID, str], sources: Mapping[UUID, Secret]
) -> Opened:
    """Open versions, given with the names that they are delivered under, for one batch of a plan.

    `sources` are the versions that are filled in to those. One event with a manifest of all of
    them is committed first, and one in each other environment that a source belongs to; versions
    that do not open add another. Raises KeyUnavailable if keys cannot be had now but may be later.
    """
    target = plan.target
    versions = _versions(target, names, sources)
    told: dict[str, Any] = {
        "actor": actor,
        "action": Action.SECRET_DELIVER,
        "stream": environment_stream(target.environment.uuid),
        "object": target.audit_object,
    }
    details: dict[str, Json] = {"plan": str(plan.uuid), "count": len(versions)}
    if sources:
        details["filled_in"] = len(sources.keys() - names.keys())
        _record_at_sources(actor, plan, versions)
    receipt = commit_record(
        **told,
        details=details,
        manifest=[version.secret.manifest_entry(version.number) for version in versions],
        covers=frozenset(version.uuid.bytes for version in versions),
    )
    opened = Opened()
    _prefetch(versions)
    for version in versions:
        try:
            opened.values[version.uuid] = version.value.open(receipt).decode()
        except SecretError as error:
            if isinstance(error, KeyUnavailable) and not error.permanent:
                raise
            opened.problems[version.uuid] = _sentence(error)
    if opened.problems:
        failed: list[Json] = [
            names.get(uuid, "what is filled in") for uuid in list(opened.problems)[:_LISTED]
        ]
        count = len(opened.problems)
        commit_record(**told, outcome=Outcome.FAILED, details={**details, "failed": failed, "count": count})
    return opened


def _record_at_sources(actor: Principal, plan: Plan, versions: Sequence[SecretVersion]) -> None:
    """Tell each other environment, in its own stream, which of its values go where."""
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


def _versions(
    target: Target, names: Mapping[UUID, str], sources: Mapping[UUID, Secret]
) -> list[SecretVersion]:
    rows = SecretVersion.objects.select_related("secret").filter(uuid__in={*names, *sources})
    versions = list(rows.order_by("secret__name"))
    environments = {secret.environment_id: secret.environment for secret in sources.values()}
    environments[target.environment_id] = target.environment
    for version in versions:
        found = environments.get(version.secret.environment_id)
        if found is not None:
            version.secret.environment = found
    return versions


def _prefetch(versions: list[SecretVersion]) -> None:
    """Open the data keys with few calls; one that cannot be had is met again at its own version."""
    try:
        data_keys.prefetch({version.data_key_id for version in versions})
    except (EnvelopeError, KeyRefused, KeyUnavailable):
        return


def _sentence(error: SecretError) -> str:
    if isinstance(error, KeyUnavailable):
        return str(error)
    return "Keeper's value does not open: ask an operator to run verify_audit"
