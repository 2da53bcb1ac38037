"""Takes a target's value into Keeper as a new version; it stays literal, and older versions stay."""

from dataclasses import dataclass
from uuid import UUID

from environments_app.approvals.gate import ApprovalGrant
from environments_app.authorization.policy import Principal
from secrets_app.errors import NameTaken, StaleVersion
from secrets_app.keys import fingerprints
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_active
from secrets_app.services import write
from secrets_app.services.read import current_version_of
from sync_app.applying.preconditions import PlanOutdated
from sync_app.models import PlanItem, Target
from sync_app.state.references import PUSH_ONLY
from sync_app.state.value_forms import infer_type


@dataclass(frozen=True, kw_only=True, slots=True)
class PulledVersion:
    """Which version of which secret holds the value now."""

    secret: UUID
    version: str
    number: int


def store_pulled_value(
    *, actor: Principal, target: Target, item: PlanItem, value: str, approval: ApprovalGrant
) -> PulledVersion:
    """Write a pulled value if Keeper's side is as it was planned, or holds that very value already.

    Raises PlanOutdated if Keeper's secret changed since, InvalidInput if Keeper does not take such a
    value, TamperedSecret, KeyUnavailable, and Forbidden or Invisible.
    """
    secret = find_active(target.environment, item.name)
    if secret is not None and secret.uses_references:
        raise PlanOutdated(PUSH_ONLY)
    if (
        secret is not None
        and not secret.left_out
        and fingerprints.matches(value.encode(), bytes(current_version_of(secret).fingerprint))
    ):
        return _to_pulled_version(secret)
    try:
        return _to_pulled_version(_write_value(actor, target, item, secret, value, approval))
    except (StaleVersion, NameTaken) as error:
        raise PlanOutdated("changed in Keeper since the plan was made: plan again") from error


def _write_value(
    actor: Principal,
    target: Target,
    item: PlanItem,
    secret: Secret | None,
    value: str,
    approval: ApprovalGrant,
) -> Secret:
    comment = f"pulled from {target.name}"
    if secret is None:
        if item.keeper_version:
            raise PlanOutdated("deleted in Keeper since the plan was made: plan again")
        return write.create(
            actor=actor,
            environment=target.environment,
            name=item.name,
            secret_type=infer_type(value),
            value=value,
            comment=comment,
            clearance=approval,
            # Of a secret that comes back by it as well: what is pulled stays literal.
            uses_references=False,
        )
    if current_version_of(secret).uuid.hex != item.keeper_version:
        raise PlanOutdated("changed in Keeper since the plan was made: plan again")
    return write.update(
        actor=actor, secret=secret, value=value, expected=secret.etag, comment=comment, clearance=approval
    )


def _to_pulled_version(secret: Secret) -> PulledVersion:
    version = current_version_of(secret)
    return PulledVersion(secret=secret.uuid, version=version.uuid.hex, number=version.number)
