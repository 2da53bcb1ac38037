"""Narrows a list of secrets by what is asked for in a query, the same for the API and the pages."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import CharField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Concat
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import ManifestUse, ReadManifestItem, SecretUse, UsageEntry
from audit_app.queries import usage_index
from core.parsing import whole_number
from environments_app.authorization.policy import Principal, environments_for
from environments_app.models import Environment, User
from secrets_app.errors import InvalidInput
from secrets_app.exposure import known_otherwise
from secrets_app.interfaces import panel_filters
from secrets_app.models import NO_SECRET, LastAsked, Secret
from secrets_app.models.tags import has_tag
from secrets_app.types.registry import parse_secret_type
from secrets_app.values.names import validate_prefix, validate_tags

ORDERINGS: Final = {
    "name": "name",
    "created": "created_at",
    "updated": "updated_at",
    "expires": "expires_at",
    "rotation_due": "rotation_due_at",
    "id": "id",
}
DEFAULT_ORDERING: Final = "name"
_TRUE: Final = {"true": True, "1": True, "false": False, "0": False}
_MAX_ID: Final = 2**63 - 1
_MAX_SEARCH: Final = 200
_MAX_WORDS: Final = 10
_MAX_DAYS: Final = 36_500
_MIN_UNUSED, _MAX_UNUSED = 2, 3650
# A caller that polls is noted once an hour, and its note is stored within minutes.
_ASKED_LAG: Final = timedelta(hours=2)


def wants_deleted(parameters: Mapping[str, str]) -> bool:
    """Return whether the deleted secrets are asked for. Raises InvalidInput."""
    text = parameters.get("deleted") or "false"
    if text.lower() not in _TRUE:
        raise InvalidInput("deleted", "Give true or false.")
    return _TRUE[text.lower()]


def narrow(secrets: QuerySet[Secret], parameters: Mapping[str, str], *, actor: Principal) -> QuerySet[Secret]:
    """Apply every filter that is given and not empty.

    What the audit log answers is found in the environments whose log the actor may read.
    Raises InvalidInput naming the parameter whose value cannot be.
    """
    for name in filter_names():
        text = parameters.get(name, "")
        if text and name in OF_THE_LOG:
            usage_index.catch_up()
            secrets = secrets.filter(OF_THE_LOG[name](text), environment__in=_with_readable_log(actor))
        elif text and name != "deleted":
            secrets = secrets.filter(FILTERS[name](text) if name in FILTERS else _of_panel(name, text))
    return secrets


def filter_names() -> tuple[str, ...]:
    """Return the names of all filters of a list, those that other apps add as well."""
    return (*FILTERS, *OF_THE_LOG, *panel_filters(), "deleted")


def _of_panel(name: str, text: str) -> Q:
    added = panel_filters()[name]
    if text not in added.choices:
        raise InvalidInput(name, f"Choose one of {', '.join(filter(None, added.choices))}.")
    return added.condition(text)


def _search(text: str) -> Q:
    """Each word must occur in a field that viewers see: name, description, owner, tags."""
    if len(text) > _MAX_SEARCH or len(text.split()) > _MAX_WORDS:
        raise InvalidInput("q", f"Search with at most {_MAX_WORDS} words and {_MAX_SEARCH} characters.")
    condition = Q()
    for word in text.lower().split():
        condition &= Q(search_text__contains=word)
    return condition


def _environment(text: str) -> Q:
    pk = whole_number(text, largest=_MAX_ID)
    named = Q(environment__name=text)
    return named if pk is None else named | Q(environment_id=pk)


def _type(text: str) -> Q:
    try:
        return Q(secret_type=parse_secret_type(text))
    except InvalidInput as error:
        raise InvalidInput("type", error.reason) from error


def _tag(text: str) -> Q:
    try:
        (tag,) = validate_tags([text])
    except InvalidInput as error:
        raise InvalidInput("tag", error.reason) from error
    return has_tag(tag)


def _prefix(text: str) -> Q:
    prefix = validate_prefix(text.removesuffix("/"))
    return Q(name=prefix) | Q(name__gte=f"{prefix}/", name__lt=f"{prefix}0")


def _expiring(text: str) -> Q:
    """Those that expire within so many days, and those that have expired."""
    return Q(expires_at__lte=timezone.now() + timedelta(days=_days("expiring", text)))


def _rotation(text: str) -> Q:
    if text == "none":
        return Q(rotation_due_at__isnull=True)
    if text == "overdue":
        return Q(rotation_due_at__lte=timezone.now())
    if text == "scheduled":
        return Q(rotation_due_at__isnull=False)
    raise InvalidInput("rotation", "Choose one of overdue, scheduled, none.")


def _age(text: str) -> Q:
    """Those whose value is so many days old: `30-90` from 30 to less than 90, `365-` at least 365."""
    youngest, dash, oldest = text.partition("-")
    if not dash:
        raise InvalidInput("age", "Give a range of days such as 30-90, or 365- for at least 365.")
    now = timezone.now()
    condition = _written_until(now - timedelta(days=_days("age", youngest)))
    return condition & ~_written_until(now - timedelta(days=_days("age", oldest))) if oldest else condition


def _written_until(moment: datetime) -> Q:
    return Q(rotated_at__lte=moment) | Q(rotated_at=None, created_at__lte=moment)


def _days(parameter: str, text: str) -> int:
    days = whole_number(text, largest=_MAX_DAYS)
    if days is None:
        raise InvalidInput(parameter, f"Give a whole number of days from 0 to {_MAX_DAYS}.")
    return days


def _owner(text: str) -> Q:
    """Those of an owner; `none` finds those without one."""
    return Q(owner__in=["", text]) if text == "none" else Q(owner=text)


def _with_readable_log(actor: Principal) -> QuerySet[Environment]:
    places = environments_for(actor, Action.TRAIL_VIEW)
    return Environment.objects.none() if places is None else Environment.objects.filter(places)


def _unused(text: str) -> Q:
    """Those that exist for so many days and were in them not read, exported, delivered or asked for.

    Both tables may be behind by some hours, so that what was used is never called unused.
    """
    days = whole_number(text, largest=_MAX_UNUSED)
    if days is None or days < _MIN_UNUSED:
        raise InvalidInput("unused", f"Give a whole number of days from {_MIN_UNUSED} to {_MAX_UNUSED}.")
    begin = timezone.now() - timedelta(days=days)
    read = SecretUse.objects.filter(
        secret_uuid=OuterRef("uuid"), last_at__gte=begin - timedelta(hours=usage_index.MARK_HOURS)
    )
    asked = LastAsked.objects.filter(
        environment_uuid=OuterRef("environment__uuid"), asked_at__gte=begin - _ASKED_LAG
    )
    alone = asked.filter(secret_uuid=OuterRef("uuid"))
    name = ExpressionWrapper(OuterRef("name"), CharField())
    below = Q(name__startswith=Concat(F("prefix"), Value("/")))
    lists = asked.filter(secret_uuid=NO_SECRET).annotate(name=name)
    along = lists.filter(Q(prefix="") | Q(name=F("prefix")) | below)
    return Q(~Exists(read), ~Exists(alone), ~Exists(along), created_at__lt=begin)


def _known_to(text: str) -> Q:
    """Those of which a disabled account knows a version that is served, was just now, or is about to."""
    if text != "left":
        raise InvalidInput("known_to", "Give left: people whose account is disabled.")
    left = User.objects.filter(is_active=False).values("uuid")
    served = Q(
        *(Q(number=OuterRef(f"{stage}_number")) for stage in ("current", "previous", "pending")),
        _connector=Q.OR,
    )
    alone = UsageEntry.objects.filter(served, object_uuid=OuterRef("uuid"), actor_uuid__in=left)
    manifests = ManifestUse.objects.filter(actor_uuid__in=left).values("manifest_id")
    along = ReadManifestItem.objects.filter(served, secret_uuid=OuterRef("uuid"), manifest__in=manifests)
    otherwise = known_otherwise([*left.values_list("uuid", flat=True)])
    return Q(Exists(alone)) | Q(Exists(along)) | Q(uuid__in=otherwise)


FILTERS: Final[Mapping[str, Callable[[str], Q]]] = {
    "q": _search,
    "environment": _environment,
    "type": _type,
    "tag": _tag,
    "owner": _owner,
    "prefix": _prefix,
    "expiring": _expiring,
    "rotation": _rotation,
    "age": _age,
}


def _decoy(text: str) -> Q:
    if text.lower() not in _TRUE:
        raise InvalidInput("decoy", "Give true or false.")
    return Q(decoy=True) if _TRUE[text.lower()] else Q(decoy=None)


OF_THE_LOG: Final[Mapping[str, Callable[[str], Q]]] = {
    "unused": _unused,
    "known_to": _known_to,
    "decoy": _decoy,
}
