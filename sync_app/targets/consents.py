"""Use cases of consents: whether an environment's values may be filled in to what goes to a target."""

from django.db import IntegrityError

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.authorization.policy import Principal, require
from environments_app.errors import Conflict, InvalidField, Invisible
from environments_app.models import Environment
from environments_app.names import validate_prefix
from environments_app.sessions.service import lock_actor
from sync_app.models import ReferenceConsent, Target
from sync_app.targets.lookup import require_authentic, require_not_removed, visible_targets


def give_consent(
    *, actor: Principal, environment: Environment, target: Target, prefix: str = ""
) -> ReferenceConsent:
    """Consent that references take an environment's values, under a prefix, to a target of another.

    Needs a manager of the environment that gives. Raises Forbidden or Invisible, InvalidField if the
    target is the environment's own, BadName, Conflict if it exists, TargetConflict or Tampered.
    """
    require(actor=actor, action=Action.CONSENT_GIVE, environment=environment)
    require_not_removed(target)
    require_authentic(target)
    if target.environment_id == environment.pk:
        raise InvalidField("target", "This target belongs to the environment and needs no permission.")
    consent = ReferenceConsent(
        environment=environment, target=target, prefix=validate_prefix(prefix), given_by=actor.name
    )
    try:
        with lock_actor(actor, Action.CONSENT_GIVE, environment):
            consent.save()
            _record(actor, Action.CONSENT_GIVE, consent)
    except IntegrityError as error:
        raise Conflict("This target is already allowed.") from error
    return consent


def withdraw_consent(*, actor: Principal, consent: ReferenceConsent) -> None:
    """Take a consent back, also one that Keeper did not write; what was delivered stays there.

    Raises Forbidden or Invisible.
    """
    require(actor=actor, action=Action.CONSENT_WITHDRAW, environment=consent.environment)
    with lock_actor(actor, Action.CONSENT_WITHDRAW, consent.environment):
        _record(actor, Action.CONSENT_WITHDRAW, consent)
        consent.delete()


def find_consent(*, actor: Principal, environment: Environment, id: int) -> ReferenceConsent:
    """Return a consent of an environment. Raises Forbidden, or Invisible if there is none."""
    require(actor=actor, action=Action.CONSENT_VIEW, environment=environment)
    consent = ReferenceConsent.objects.select_related("target__environment").filter(
        environment=environment, pk=id
    )
    found = consent.first()
    if found is None:
        raise Invisible("There is no such consent.")
    found.environment = environment
    return found


def find_destination(*, actor: Principal, text: str) -> Target:
    """Return the living target that `environment/target` names.

    Raises InvalidField if there is none that the actor may see.
    """
    environment, _, name = text.partition("/")
    target = visible_targets(actor).filter(environment__name=environment, name=name).first()
    if target is None:
        raise InvalidField("target", "Target not found. Enter environment/target.")
    return target


def _record(actor: Principal, action: Action, consent: ReferenceConsent) -> None:
    """Record it where the values are, and where they may go."""
    gone = action is Action.CONSENT_WITHDRAW
    target = consent.target
    details: dict[str, Json] = {
        "environment": consent.environment.name,
        "target": f"{target.environment.name}/{target.name}",
        "prefix": consent.prefix,
    }
    for environment in (consent.environment, target.environment):
        record(
            actor=actor,
            action=action,
            stream=environment_stream(environment.uuid),
            object=consent.audit_object,
            details=details | row_digest_entry(consent, gone=gone),
        )
