"""Use cases of environments: finding, creating and changing them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError
from django.db.models import CharField, Max
from django.utils.module_loading import import_string

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import AuthenticatedRow, verified_rows
from audit_app.integrity.row_state import row_digest_entry, state_digest
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.db.prepared import Argument, PreparedQuery
from environments_app.approvals.access_proposals import weakening
from environments_app.approvals.approvers import possible_managers
from environments_app.approvals.gate import needs_second_person, require_release
from environments_app.approvals.one_person import way_apart, who_could_be_whom
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Grant, Principal, grants_allow, require
from environments_app.authorization.principals import user_principal
from environments_app.authorization.rows import clean_fields, set_fields
from environments_app.errors import BadName, Conflict, CountAsOne, InvalidField, Invisible, NameInUse
from environments_app.interfaces import guard_names, has_guarded
from environments_app.models import Environment, Membership, Role, User
from environments_app.models.environment import MAX_GUARDED_PREFIXES, Colour
from environments_app.names import validate_environment_name, validate_prefix
from environments_app.sessions.service import lock_actor, lock_row

CHANGEABLE: Final = (
    "display_name",
    "description",
    "colour",
    "position",
    "protected",
    "approvals_required",
    "kms_key_alias",
    "offline_hours",
    "outside_hours",
    "version_defaults",
    "guarded_prefixes",
    "emergency_reads",
)
_UNCOUNTED: Final = (
    "Administrators do not count: they approve no values. Nor do managers with a temporary password."
)
_ONE_MANAGER: Final = (
    "A new environment has one manager, so no one else could approve changes. Create it without protection, "
    "add a second manager, then protect it."
)
_NOTHING_OUTSIDE: Final = "A protected environment shares nothing with people outside. Leave this blank."
_KEPT: Final = (
    "{0} was deleted and is kept for a while, with its name. Restore it on the page of deleted environments, "
    "or choose another name."
)
_COLOURS: Final = {"development": Colour.GREEN, "staging": Colour.AMBER, "production": Colour.RED}
# AWS KMS API, "KeyId": an alias, a key id (also of a multi-Region key), or the ARN of either.
_KEY_REFERENCE: Final = re.compile(
    r"(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(alias/[A-Za-z0-9/_-]{1,250}|key/[A-Za-z0-9-]{1,64}))"
    r"|alias/[A-Za-z0-9/_-]{1,250}"
    r"|(mrk-)?[0-9a-fA-F-]{32,36}"
)


_BY_NAME: Final = PreparedQuery(lambda: Environment.objects.filter(name=Argument(0, CharField())).order_by())


def find_environment(*, actor: Principal, name: str) -> Environment:
    """Return the environment of this name.

    Raises Invisible if there is none, if the actor may not see it (recorded), or if its row was
    not written by Keeper (recorded).
    """
    return require_visible(actor, _BY_NAME.first(name))


def find_environment_by_id(*, actor: Principal, id: int) -> Environment:
    """Return the environment of this id; raises Invisible as `find_environment` does."""
    return require_visible(actor, Environment.objects.filter(pk=id).first())


def create_environment(
    *,
    actor: Principal,
    name: str,
    display_name: str = "",
    description: str = "",
    kms_key_alias: str = "",
    colour: str = "",
    protected: bool = False,
    offline_hours: int | None = None,
    outside_hours: int | None = None,
    approvals_required: int | None = None,
    guarded_prefixes: str | Sequence[str] = "",
    emergency_reads: bool | None = None,
    position: int | None = None,
    manager: User | None = None,
    cloned_from: Environment | None = None,
) -> Environment:
    """Create an environment, whose creator becomes its manager.

    `manager` names one where no person creates it (a token, or Keeper itself). `cloned_from` is whose values
    it is about to be given. It is not created as
    protected: nobody could approve what its one manager asks for. `warnings` has an entry if its key
    could not be checked.
    Raises Forbidden, BadName, InvalidField, or NameInUse.
    """
    require(actor=actor, action=Action.ENVIRONMENT_CREATE, environment=None)
    if protected:
        raise InvalidField("protected", _ONE_MANAGER)
    environment = Environment(
        name=validate_environment_name(name),
        display_name=display_name,
        description=description,
        kms_key_alias=_key_reference(kms_key_alias),
        colour=colour or _COLOURS.get(name, Colour.SLATE),
        approvals_required=approvals_required,
        offline_hours=offline_hours,
        outside_hours=outside_hours,
        guarded_prefixes=_paths(guarded_prefixes),
        emergency_reads=emergency_reads or None,
        position=0 if position is None else position,
    )
    checked = ["display_name", "description", "colour", "position", "approvals_required"]
    clean_fields(environment, [*checked, "offline_hours", "outside_hours", "guarded_prefixes"])
    environment.warnings = _checked_key(kms_key_alias)
    if actor.kind is ActorKind.USER:
        manager = User.objects.get(uuid=actor.uuid)
    try:
        with lock_actor(actor, Action.ENVIRONMENT_CREATE):
            _store(environment, actor, manager, last=position is None, cloned_from=cloned_from)
    except IntegrityError as error:
        deleted = Environment.every.filter(name=name, deleted_at__isnull=False).exists()
        raise NameInUse(_KEPT.format(name) if deleted else f"{name} already exists.") from error
    return environment


def free_colour(name: str) -> str:
    """Return a colour for a new environment: that of its name, else the first that no environment has."""
    if "prod" in name:
        return Colour.RED
    used = set(Environment.objects.values_list("colour", flat=True).distinct())
    free = (colour for colour in Colour if colour not in {*used, Colour.RED, Colour.SLATE})
    return _COLOURS.get(name) or next(free, Colour.SLATE)


def update_environment(
    *,
    actor: Principal,
    environment: Environment,
    version_rules: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Environment:
    """Change settings of an environment (CHANGEABLE; its name stays) and return it as stored.

    `version_rules` are members of `version_defaults`; the others stay as they are stored by then.

    Raises Invisible, Forbidden, InvalidField, Tampered, or ApprovalNeeded if it would no longer be
    protected, by fewer approvals, or if a protected one allowed offline copies or longer ones, changed its
    rules of versions or guarded paths, or allowed emergency reads. Fewer approvals and emergency reads need
    one in any that holds guarded secrets, and a guarded path that is taken away needs one in any. It cannot
    be protected while too few people could approve, and once it is, it shares nothing with people outside.
    Each secret under a new guarded path is guarded along with it. `warnings` has an entry if a new key could
    not be checked.
    """
    require(actor=actor, action=Action.ENVIRONMENT_UPDATE, environment=environment)
    for field in changes.keys() - set(CHANGEABLE):
        raise InvalidField(field, "This field can't be changed.")
    changes = _cleaned(changes) | _with_rules(environment, version_rules)
    # An unchanged key that fails now does not prevent changes of the other settings.
    key = changes.get("kms_key_alias", environment.kms_key_alias)
    warnings = _checked_key(key) if key != environment.kms_key_alias else ()
    needed = _needed(environment, changes)
    begins = changes.get("protected") and not environment.protected
    if begins or (environment.protected and needed > environment.approvals_needed):
        _require_enough_people(environment, needed)
    proposal = weakening(environment, changes) if _weakens(actor, environment, changes) else None
    approval = require_release(actor=actor, proposal=proposal) if proposal is not None else None
    with lock_row(actor, environment, Action.ENVIRONMENT_UPDATE, environment) as stored:
        # An approval is for the state that was seen: after a change of it, it is void.
        changes |= _with_rules(stored, version_rules)
        if approval is None and _weakens(actor, stored, changes):
            raise Conflict("Approvals were turned on here, or a guard was set. Reload the page.")
        if changes.get("protected", stored.protected):
            if changes.get("outside_hours"):
                raise InvalidField("outside_hours", _NOTHING_OUTSIDE)
            changes = {**changes, "outside_hours": None}
        approved = approval.consume(stored, actor=actor, state=state_digest(stored)) if approval else {}
        changed = set_fields(stored, changes)
        if changed:
            stored.save(update_fields=[*changed, "updated_at"])
            if "guarded_prefixes" in changed:
                guard_names(actor=actor, environment=stored)
            new_values = {name: changes[name] for name in changed}
            _record(actor, Action.ENVIRONMENT_UPDATE, stored, new_values | approved)
    stored.warnings = warnings
    return stored


def _cleaned(changes: Mapping[str, Any]) -> dict[str, Any]:
    cleaned = {**changes}
    if "guarded_prefixes" in changes:
        cleaned["guarded_prefixes"] = _paths(changes["guarded_prefixes"])
    if "emergency_reads" in changes:
        cleaned["emergency_reads"] = changes["emergency_reads"] or None
    return cleaned


def _with_rules(environment: Environment, rules: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the change that sets some members of the defaults of versions; none that is empty stays."""
    if rules is None:
        return {}
    merged = {**(environment.version_defaults or {}), **rules}
    return {"version_defaults": {name: value for name, value in merged.items() if value} or None}


def _require_enough_people(environment: Environment, needed: int) -> None:
    """Refuse a protection that its managers could not even end again: one asks, the others approve."""
    # Not administrators: they approve no change of a value.
    people = [
        user
        for user in possible_managers(environment)
        if grants_allow(user_principal(user), Action.APPROVAL_DECIDE, environment_id=environment.pk)
    ]
    accounts = [user.uuid for user in people]
    if CustodyGraph().people_among(accounts, environment=environment) > needed:
        return
    if needed == 1 and len(people) <= 1:
        raise InvalidField(
            "protected", f"Add a second manager first, so someone else can approve changes. {_UNCOUNTED}"
        )
    if len(people) > needed:
        raise CountAsOne(
            "protected" if needed == 1 else "approvals_required",
            f"Too few different people could approve. {who_could_be_whom(people, environment)} "
            f"{way_apart(people, environment)}",
            environment=environment.name,
        )
    raise InvalidField(
        "approvals_required",
        f"Add managers first: {needed} approvals need {needed} managers besides the requester. {_UNCOUNTED}",
    )


def _needed(environment: Environment, changes: dict[str, Any]) -> int:
    return changes.get("approvals_required", environment.approvals_required) or 1


def _weakens(actor: Principal, environment: Environment, changes: dict[str, Any]) -> bool:
    unprotects = changes.get("protected", True) is not True
    fewer = _needed(environment, changes) < environment.approvals_needed
    keeps_longer = (changes.get("offline_hours") or 0) > (environment.offline_hours or 0)
    rules = environment.version_defaults
    other_rules = changes.get("version_defaults", rules) != rules
    paths = changes.get("guarded_prefixes", environment.guarded_prefixes)
    opens = changes.get("emergency_reads") and not environment.emergency_reads
    weakens = unprotects or fewer or keeps_longer or other_rules or opens
    weakens = weakens or paths != environment.guarded_prefixes
    if weakens and needs_second_person(actor, environment):
        return True
    # As many people agree to a read of a guarded secret, also where changes need none.
    ends = any(not _is_within(path, paths.split()) for path in environment.guarded_paths)
    if actor.kind is ActorKind.SYSTEM:
        return False
    return ends or bool((fewer or opens) and has_guarded(environment))


def _is_within(path: str, paths: Sequence[str]) -> bool:
    return any(Grant.reaches(each, path) for each in paths)


def require_visible(actor: Principal, environment: Environment | None) -> Environment:
    """Return an environment that was looked for; raises Invisible as `find_environment` does."""
    if environment is None or not verified_rows([environment]):
        raise Invisible("There is no such environment.")
    require(actor=actor, action=Action.ENVIRONMENT_VIEW, environment=environment)
    return environment


def _store(
    environment: Environment,
    actor: Principal,
    manager: User | None,
    *,
    last: bool,
    cloned_from: Environment | None,
) -> None:
    if last:
        highest = Environment.objects.aggregate(highest=Max("position"))["highest"]
        environment.position = (highest or 0) + 1
    environment.save()
    beside: list[AuthenticatedRow] = []
    if manager:
        given = {"environment": environment, "user": manager, "role": Role.MANAGER, "granted_by": manager}
        beside.append(Membership.objects.create(**given))
    details = {
        "display_name": environment.display_name,
        "kms_key_alias": environment.kms_key_alias,
        "protected": environment.protected,
        "offline_hours": environment.offline_hours,
        "outside_hours": environment.outside_hours,
        "approvals_required": environment.approvals_needed,
        "guarded_prefixes": environment.guarded_prefixes,
        "emergency_reads": bool(environment.emergency_reads),
        "manager": manager.username if manager else None,
        # By which what is known of the source is followed; readers here may not know its name.
        **({"cloned_from": str(cloned_from.uuid)} if cloned_from else {}),
    }
    _record(actor, Action.ENVIRONMENT_CREATE, environment, details, beside)


def _record(
    actor: Principal,
    action: Action,
    environment: Environment,
    details: dict[str, Any],
    beside: Sequence[AuthenticatedRow] = (),
) -> None:
    """Record a change of an environment, and of the rows `beside` it."""
    record(
        actor=actor,
        action=action,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details=details | row_digest_entry(environment, *beside),
    )


def _paths(given: str | Sequence[str]) -> str:
    """Return guarded paths as they are stored: in order, none within another, a blank between them."""
    try:
        paths = {validate_prefix(path) for path in (given.split() if isinstance(given, str) else given)}
    except BadName as error:
        raise InvalidField("guarded_prefixes", error.reason) from error
    if "" in paths:
        raise InvalidField("guarded_prefixes", "A path has a name. To guard everything, name each folder.")
    outer = sorted(path for path in paths if not _is_within(path, [*paths - {path}]))
    if len(outer) > MAX_GUARDED_PREFIXES:
        raise InvalidField(
            "guarded_prefixes", f"Name {MAX_GUARDED_PREFIXES} paths at most, or one that contains several."
        )
    return " ".join(outer)


def _key_reference(text: str) -> str:
    if text and not _KEY_REFERENCE.fullmatch(text):
        raise InvalidField("kms_key_alias", "Enter an alias (alias/...), a key id, or the ARN of either.")
    return text


def _checked_key(text: str) -> tuple[str, ...]:
    """Have the key that an environment is to name looked at; return a warning if that was not possible."""
    if not _key_reference(text):
        return ()
    warning: str = import_string(settings.KEEPER_ENVIRONMENT_KEY_CHECK)(text)
    return (warning,) if warning else ()
