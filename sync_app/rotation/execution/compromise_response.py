"""Rotates what a user or token knows: previews each secret, then requests each rotation separately."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import QuerySet

from audit_app.events.actions import Action
from audit_app.queries.access_log import record_view
from core.db.bulk import in_batches
from environments_app.authorization.policy import Principal, allows, environments_for, record_denial
from environments_app.errors import AccessError, ApprovalNeeded, InvalidField, Invisible, ManagersOnly
from environments_app.models import Environment, ServiceToken, User
from secrets_app.errors import SecretError
from secrets_app.exposure import Known, known_to
from secrets_app.services import lifecycle
from secrets_app.values.batch_results import NOT_ALLOWED, error_message
from sync_app.errors import SyncError
from sync_app.models import Acknowledgement, Rotation, RotationPolicy
from sync_app.rotation.execution.requests import request_rotation

# Requested at a time; a repeated call continues with the next ones.
AT_A_TIME: Final = 200
# So many of one name are told apart; a token that is renewed keeps its name.
_NAMED: Final = 5
_KINDS: Final = {"user": "a person", "token": "a token"}
_SUSPENDED: Final = "Its policy is suspended: resume it first."
_ROTATION_STOPPED: Final = "Its rotation stopped: settle that first."
_REQUESTED: Final = "It is already requested."
_MARKED: Final = "It is marked as due already: change it by hand."


@dataclass(frozen=True, kw_only=True)
class SecretReader:
    """The person or token in question; `name` is what has to be typed to confirm."""

    uuid: UUID
    name: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class ExposedSecret:
    """A known secret that is still served, and the planned action.

    Without a policy it needs a manual change, and is marked as due. `reason` states why nothing would be
    done, `slow` lists consumers that have not confirmed the present version, and may lose access in an
    emergency.
    """

    known: Known
    policy: RotationPolicy | None
    reason: str = ""
    slow: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class RotationResult:
    """The result for one of them; `approval` is the request if it needs an approval."""

    exposed: ExposedSecret
    rotation: Rotation | None = None
    marked: bool = False
    reason: str = ""
    approval: int | None = None

    @property
    def done(self) -> bool:
        return self.marked or self.rotation is not None


@dataclass(frozen=True, kw_only=True)
class CompromiseResponse:
    """What became of each, and how many are left to be asked for by the next call."""

    results: Sequence[RotationResult]
    left: int = 0
    cut_off: Sequence[str] = ()


def require_managing(actor: Principal) -> None:
    """Ask for the right to read the audit log of any environment at all. Raises Forbidden; it is recorded."""
    if environments_for(actor, Action.TRAIL_VIEW) is None:
        record_denial(actor=actor, action=Action.TRAIL_VIEW, environment=None)
        raise ManagersOnly("Only managers of a whole environment, auditors and administrators can do this.")


def find_reader(*, actor: Principal, name: str) -> SecretReader:
    """Return the user or token of a username, a token's name or a uuid.

    Names of tokens are looked up in the environments whose audit log the actor may read. Raises Forbidden,
    Invisible if there is none, InvalidField if it is ambiguous.
    """
    require_managing(actor)
    places = environments_for(actor, Action.TRAIL_VIEW)
    tokens = ServiceToken.objects.all()
    # An administrator's condition is empty: it takes in the tokens that belong to no environment.
    named = tokens.filter(environment__in=Environment.objects.filter(places)) if places else tokens
    return _match_reader(name, named)


def reader_for_operator(name: str) -> SecretReader:
    """Return the user or token of a username, a token's name or a uuid, for the host's operator.

    Raises Invisible if there is none, InvalidField if it is ambiguous.
    """
    return _match_reader(name, ServiceToken.objects.all())


def _match_reader(name: str, named: QuerySet[ServiceToken]) -> SecretReader:
    try:
        uuid = UUID(name)
    except ValueError:
        people, tokens = User.objects.filter(username=name), named.filter(name=name)
    else:
        people, tokens = User.objects.filter(uuid=uuid), ServiceToken.objects.filter(uuid=uuid)
    readers = [
        *(SecretReader(uuid=user.uuid, name=user.username, kind="user") for user in people),
        *(SecretReader(uuid=token.uuid, name=token.name, kind="token") for token in tokens[:_NAMED]),
    ]
    if not readers:
        raise Invisible("No user or token readers.")
    if len(readers) > 1:
        candidates = ", ".join(f"{reader.uuid} ({_KINDS[reader.kind]})" for reader in readers)
        raise InvalidField(
            "who", f"Several have this name. Enter the UUID of one of them, for example {candidates}."
        )
    return readers[0]


def find_exposed(reader: UUID) -> list[ExposedSecret]:
    """Return all known secrets that are still served, for the host's operator."""
    current = [known for known in known_to(reader) if known.stands]
    policies: dict[UUID, RotationPolicy] = {}
    for batch in in_batches([known.secret.uuid for known in current]):
        rows = RotationPolicy.objects.filter(secret__uuid__in=batch, live=True)
        rows = rows.select_related("environment", "secret__environment")
        policies |= {policy.secret.uuid: policy for policy in rows}
    return [ExposedSecret(known=known, policy=policies.get(known.secret.uuid)) for known in current]


def preview(*, actor: Principal, reader: SecretReader, emergency: bool) -> list[ExposedSecret]:
    """Return the known secrets and the planned action for each; nothing is done.

    It covers the environments whose audit log the actor may read, since it shows reads there; so it is
    recorded as a view of the audit log, before any query.
    """
    record_view(viewer=actor, face="exposure", filters={"reader": f"{reader.kind} {reader.name}"})
    shown = [
        each
        for each in find_exposed(reader.uuid)
        if allows(actor, Action.TRAIL_VIEW, environment_id=each.known.secret.environment_id)
    ]
    under_way = _explain_running(shown, emergency=emergency)
    slow = _find_stale_consumers(shown)
    return [
        ExposedSecret(
            known=each.known,
            policy=each.policy,
            reason=_explain_refusal(actor, each, under_way, emergency=emergency),
            slow=slow.get(each.known.secret.uuid, ()),
        )
        for each in shown
    ]


def rotate_known(
    *, actor: Principal, reader: SecretReader, emergency: bool, reason: str
) -> CompromiseResponse:
    """Ask for a rotation of each that has a policy, mark each other as due; return what became of it.

    In an emergency grace periods end now, and none follows: consumers that have not confirmed the present
    version are named. Each is requested separately, at most 200 at a time, and those already requested are
    skipped, so the call can be repeated. In a protected environment each needs an approval.
    """
    looked = preview(actor=actor, reader=reader, emergency=emergency)
    todo = [each for each in looked if not each.reason]
    why = reason or f"known to {reader.name}"
    results = [_request_one(actor, each, why, emergency=emergency) for each in todo[:AT_A_TIME]]
    results += [RotationResult(exposed=each, reason=each.reason) for each in looked if each.reason]
    cut_off = {name for result in results if emergency and result.rotation for name in result.exposed.slow}
    return CompromiseResponse(results=results, left=len(todo[AT_A_TIME:]), cut_off=sorted(cut_off))


def _request_one(actor: Principal, exposed: ExposedSecret, reason: str, *, emergency: bool) -> RotationResult:
    secret = exposed.known.secret
    try:
        if exposed.policy is None:
            lifecycle.mark_rotation_due(actor=actor, secret=secret)
            return RotationResult(exposed=exposed, marked=True)
        rotation = request_rotation(actor=actor, policy=exposed.policy, emergency=emergency, reason=reason)
    except ApprovalNeeded as error:
        return RotationResult(exposed=exposed, reason=str(error), approval=error.approval)
    except SyncError as error:
        return RotationResult(exposed=exposed, reason=str(error))
    except (AccessError, SecretError) as error:
        return RotationResult(exposed=exposed, reason=error_message(error))
    return RotationResult(exposed=exposed, rotation=rotation)


def _explain_refusal(
    actor: Principal, exposed: ExposedSecret, under_way: Mapping[int, str], *, emergency: bool
) -> str:
    secret, policy = exposed.known.secret, exposed.policy
    right = Action.SECRET_UPDATE
    if policy is not None:
        right = Action.ROTATION_CUT if emergency else Action.ROTATION_RUN
    if not allows(actor, right, environment_id=secret.environment_id, name=secret.name):
        return NOT_ALLOWED
    if policy is None:
        return _MARKED if secret.rotation_due_at is not None else ""
    if policy.suspended_at is not None:
        return _SUSPENDED
    return under_way.get(policy.pk, "")


def _explain_running(exposed: Sequence[ExposedSecret], *, emergency: bool) -> dict[int, str]:
    """Return why nothing is asked of a policy now, by the policy.

    Its rotation stopped, and what is asked would wait behind it; or it was asked for already, and leaves
    nothing served that is known. What an emergency asks for is more than what a common rotation does.
    """
    numbers = {each.policy.pk: each.known.numbers for each in exposed if each.policy is not None}
    reasons: dict[int, str] = {}
    for batch in in_batches(list(numbers)):
        for rotation in Rotation.objects.filter(policy__in=batch, slot__isnull=False):
            if rotation.stopped_at is not None:
                reasons[rotation.policy_id] = _ROTATION_STOPPED
            elif (
                (rotation.emergency or not emergency)
                and not rotation.reverted
                and rotation.to_number not in numbers[rotation.policy_id]
            ):
                reasons.setdefault(rotation.policy_id, _REQUESTED)
    return reasons


def _find_stale_consumers(exposed: Sequence[ExposedSecret]) -> dict[UUID, list[str]]:
    """Return who did not confirm the present version of each, for all of them at once."""
    current = {each.known.secret.uuid: each.known.secret.current_number for each in exposed}
    names_of: dict[UUID, set[str]] = {}
    for batch in in_batches(list(current)):
        rows = Acknowledgement.objects.filter(secret__uuid__in=batch).select_related("secret")
        for row in rows:
            if row.number != current[row.secret.uuid]:
                names_of.setdefault(row.secret.uuid, set()).add(row.consumer_name)
    return {uuid: sorted(names) for uuid, names in names_of.items()}
