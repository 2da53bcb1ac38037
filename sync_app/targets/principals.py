"""The principal of a run: the user who started it, with present rights; or Keeper, within the scope."""

from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import load_principal, system_principal
from environments_app.errors import Tampered
from environments_app.models import Role
from sync_app.models import Run, Target
from sync_app.models.plan import PlanKind
from sync_app.targets.lookup import require_authentic, require_not_removed


def require_usable(target: Target) -> None:
    """Refuse a target that was removed or whose row, or environment, Keeper did not write.

    Raises TargetConflict, or Tampered, which is reported.
    """
    require_not_removed(target)
    require_authentic(target)


def target_principal(target: Target, *, role: Role = Role.EDITOR) -> Principal:
    """Return Keeper itself, allowed what the target is for: editing the names in its scope.

    The target's own row is the grant, so that it must be genuine. Raises TargetConflict or Tampered.
    """
    require_usable(target)
    environment = target.environment
    grant = Grant(
        environment_id=environment.pk,
        environment_uuid=environment.uuid,
        environment_name=environment.name,
        role=role,
        prefix=str(target.scope),
    )
    return system_principal(grants=(grant,))


def load_run_principal(run: Run) -> Principal:
    """Return who a run works for, with what they may do by now. Raises TargetConflict or Tampered."""
    if not verified_rows([run]):
        raise Tampered("The run's record was changed outside Keeper; nothing is done.")
    if run.plan is not None:
        run.plan.target = run.target
        if not verified_rows([run.plan]):
            raise Tampered("The plan's record was changed outside Keeper; nothing is done: plan again.")
    require_usable(run.target)
    if run.actor.kind is not ActorKind.SYSTEM:
        return load_principal(run.actor)
    # Who adopts or takes leave from a shell on the host operates Keeper.
    manages = run.plan is not None and run.plan.kind != PlanKind.SYNC
    return target_principal(run.target, role=Role.MANAGER if manages else Role.EDITOR)
