"""Finds secrets for an actor: one that they may not see counts as missing."""

from collections.abc import Collection
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS
from django.db.models import BigIntegerField, CharField, Count, F, FilteredRelation, Max, Q, QuerySet

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import record_integrity_violation
from core.db.prepared import Argument, PreparedQuery
from environments_app.authorization.policy import Principal, allows, require, visible, visible_environments
from environments_app.environments.service import require_visible
from environments_app.errors import Invisible
from environments_app.models import Environment
from secrets_app.errors import StaleVersion, TamperedSecret
from secrets_app.models import Secret, SecretVersion

_BY_ID: Final = PreparedQuery(
    lambda: Secret.objects.select_related("environment").filter(pk=Argument(0, BigIntegerField())).order_by()
)
_BY_NAME: Final = PreparedQuery(
    lambda: Secret.objects.filter(
        environment_id=Argument(0, BigIntegerField()), name=Argument(1, CharField()), live=True
    ).order_by()
)

_PLACE_COLUMNS: Final = [field.attname for field in Environment._meta.concrete_fields]
_SECRET_COLUMNS: Final = [field.attname for field in Secret._meta.concrete_fields]
# An environment, and its living secret of a name if there is one: as much work where there is none.
_BY_NAMES: Final = PreparedQuery(
    lambda: (
        Environment.objects.filter(name=Argument(0, CharField()))
        .annotate(
            found=FilteredRelation(
                "secrets", condition=Q(secrets__name=Argument(1, CharField()), secrets__live=True)
            )
        )
        .order_by()
        .values_list(*_PLACE_COLUMNS, *(f"found__{name}" for name in _SECRET_COLUMNS))
    )
)


def environments_where(actor: Principal, action: Action) -> QuerySet[Environment]:
    """Return the environments in some part of which the actor may do this, in their order."""
    visible = Environment.objects.filter(visible_environments(actor))
    found = [place.pk for place in visible if can_in_any_scope(actor, action, place)]
    return Environment.objects.filter(pk__in=found).order_by("position", "name")


def can_in_any_scope(actor: Principal, action: Action, environment: Environment) -> bool:
    """Return whether the actor may do something in an environment, whether under a prefix only."""
    prefixes = {grant.prefix for grant in actor.grants if grant.environment_id == environment.pk}
    return any(allows(actor, action, environment_id=environment.pk, name=prefix) for prefix in prefixes)


def visible_secrets(actor: Principal, *, deleted: bool = False) -> QuerySet[Secret]:
    """Return the living (or the deleted) secrets whose names the actor may know."""
    secrets = Secret.objects.filter(visible(actor, Action.SECRET_VIEW))
    secrets = secrets.filter(live__isnull=True) if deleted else secrets.filter(live=True)
    return secrets.select_related("environment")


def count_by_environment(actor: Principal, prefix: str = "") -> dict[int, dict[str, Any]]:
    """Return how many living secrets the actor may list in each environment, and when one changed last.

    An environment without any is left out. Without a path an index alone answers it.
    """
    rows = Secret.objects.filter(visible(actor, Action.SECRET_VIEW), live=True).order_by()
    if prefix:
        rows = rows.filter(Q(name=prefix) | Q(name__gte=f"{prefix}/", name__lt=f"{prefix}0"))
    counted = rows.values_list("environment_id").annotate(Count("pk"), Max("updated_at"))
    return {place: {"count": count, "changed_at": changed_at} for place, count, changed_at in counted}


def find_secret(*, actor: Principal, id: int, deleted: bool | None = False) -> Secret:
    """Return a secret by its id: a living one, a deleted one, or (None) either.

    Raises Invisible if there is none that the actor may see. Where the right to see is what
    is missing, the denial is recorded.
    """
    secret = _BY_ID.first(id)
    wanted = {None: (True, None), False: (True,), True: (None,)}[deleted]
    return _seen(actor, secret if secret is not None and secret.live in wanted else None)


def find_secret_by_name(*, actor: Principal, environment: Environment, name: str) -> Secret:
    """Return a living secret by its name.

    Raises Invisible if there is none that the actor may see; then a denial is recorded even
    for a name that does not exist, so that the two cannot be told apart by their records.
    """
    return _require_by_name(actor, environment, name, find_active(environment, name))


def find_in_environment(
    *, actor: Principal, environment: str, name: str
) -> tuple[Environment, Secret | None]:
    """Return an environment by its name, and its living secret of a name; who may see that is not asked.

    Raises Invisible as `find_environment` does.
    """
    row = _BY_NAMES.first(environment, name)
    if row is None:
        return require_visible(actor, None), None
    width = len(_PLACE_COLUMNS)
    place = require_visible(actor, Environment.from_db(DEFAULT_DB_ALIAS, _PLACE_COLUMNS, row[:width]))
    if row[width] is None:
        return place, None
    secret = Secret.from_db(DEFAULT_DB_ALIAS, _SECRET_COLUMNS, row[width:])
    secret.environment = place
    return place, secret


def find_secret_by_names(*, actor: Principal, environment: str, name: str) -> Secret:
    """Return a living secret by the name of its environment and its own; one statement.

    Raises Invisible as `find_environment` and `find_secret_by_name` do.
    """
    place, secret = find_in_environment(actor=actor, environment=environment, name=name)
    return _require_by_name(actor, place, name, secret)


def find_last_deleted(*, actor: Principal, environment: Environment, name: str) -> Secret | None:
    """Return the secret of a name that was deleted last, if the actor may know of it."""
    found = visible_secrets(actor, deleted=True).filter(environment=environment, name=name)
    return found.order_by("-deleted_at").first()


def find_with_versions(
    *, actor: Principal, environment: Environment, name: str, numbers: Collection[int]
) -> list[Secret]:
    """Return the living secret of a name, and then the deleted ones, which have one of these versions.

    Only what the actor may know of.
    """
    having = SecretVersion.objects.filter(
        number__in=numbers, secret__environment=environment, secret__name=name
    )
    found = Secret.objects.filter(visible(actor, Action.SECRET_VIEW), pk__in=having.values("secret"))
    return list(found.select_related("environment").order_by("-live", "-deleted_at"))


def find_deleted_version(
    *, actor: Principal, environment: Environment, name: str, number: int = 0
) -> SecretVersion | None:
    """Return a version of a secret of a name that was deleted as a whole, if the actor may know of it.

    0: the last one.
    """
    secrets = visible_secrets(actor, deleted=True).filter(environment=environment, name=name)
    versions = SecretVersion.objects.filter(secret__in=secrets, number=number or F("secret__current_number"))
    found = versions.select_related("secret").defer("value").order_by("-secret__deleted_at").first()
    return None if found is None or found.secret.rules.hidden else found


def find_active(environment: Environment, name: str) -> Secret | None:
    """Return the active secret of a name, without an access check."""
    secret = _BY_NAME.first(environment.pk, name)
    if secret:
        secret.environment = environment
    return secret


def find_withdrawn(environment: Environment, name: str) -> Secret | None:
    """Return the secret of a name that a new value brings back, without an access check.

    It was deleted last, because its current version is gone. Raises TamperedSecret.
    """
    deleted = Secret.objects.filter(environment=environment, name=name, live=None)
    last = deleted.order_by("-deleted_at").first()
    if last is None or not last.version_rules:
        return None
    last.environment = environment
    require_authentic(last)
    return last if last.is_withdrawn else None


def find_withdrawn_among(
    environment: Environment, names: Collection[str], *, made: Collection[int] = ()
) -> dict[str, Secret]:
    """Return of each of these names the secret that a new value brings back, without an access check.

    It may not be genuine: the caller asks. `made` are rows of this transaction, which do not take a name.
    """
    deleted = Secret.objects.filter(environment=environment, name__in=names, live=None)
    last = {secret.name: secret for secret in deleted.order_by("deleted_at", "pk")}
    living = Secret.objects.filter(environment=environment, name__in=names, live=True).exclude(pk__in=made)
    for name in living.values_list("name", flat=True):
        last.pop(name, None)
    found = {name: secret for name, secret in last.items() if secret.version_rules and secret.is_withdrawn}
    for secret in found.values():
        secret.environment = environment
    return found


def require_on(*, actor: Principal, action: Action, secret: Secret, name: str | None = None) -> None:
    """Ask for a right on a secret, under its own name or another that it is to have.

    Raises Forbidden or Invisible; the denial is recorded.
    """
    require(
        actor=actor,
        action=action,
        environment=secret.environment,
        name=secret.name if name is None else name,
        object=secret.audit_object,
    )


def require_authentic(secret: Secret) -> None:
    """Refuse a secret whose name, environment or current version was edited outside Keeper.

    Raises TamperedSecret; the violation is recorded.
    """
    if secret.is_authentic() and secret.environment.is_authentic():
        return
    record_integrity_violation(
        kind="secret", uuid=secret.uuid, name=secret.name, reason="the secret's row was not written by Keeper"
    )
    raise TamperedSecret("This secret was changed outside Keeper. Ask an operator to run verify_audit.")


def require_not_deleted(secret: Secret) -> None:
    """Refuse to change what is deleted. Raises StaleVersion."""
    if not secret.live:
        raise StaleVersion("This secret is deleted. Restore it first.")


def _require_by_name(actor: Principal, environment: Environment, name: str, secret: Secret | None) -> Secret:
    if not allows(actor, Action.SECRET_VIEW, environment_id=environment.pk, name=name):
        require(actor=actor, action=Action.SECRET_VIEW, environment=environment, name=name)
    return _seen(actor, secret)


def _seen(actor: Principal, secret: Secret | None) -> Secret:
    if secret is None:
        raise Invisible
    require_on(actor=actor, action=Action.SECRET_VIEW, secret=secret)
    return secret
