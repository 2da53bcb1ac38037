"""The state of the secrets that an actor may read, as one text that changes with each of them: an ETag."""

import hashlib
from collections.abc import Set as AbstractSet
from typing import Final

from django.db.models import BigIntegerField, Q, QuerySet
from django.utils.http import parse_etags

from audit_app.events.actions import Action
from core.canonical_json import canonical_json
from core.db.prepared import Argument, PreparedQuery
from environments_app.authorization.policy import Principal, allows, require_confirmed, visible
from environments_app.models import Environment
from environments_app.tokens.authentication import EnvironmentRow
from secrets_app.metrics import UNCHANGED_LISTS
from secrets_app.models import Secret

_DIGITS: Final = 32
# To compose the statement takes Django longer than the database takes to read a thousand rows.
_WHOLE: Final = PreparedQuery(
    lambda: (
        Secret.objects.filter(environment_id=Argument(0, BigIntegerField()), live=True, decoy=None)
        .order_by("pk")
        .values_list("pk", "revision")
    )
)


def readable_secrets(
    actor: Principal, environment: Environment | EnvironmentRow, prefix: str = ""
) -> QuerySet[Secret]:
    """Return the secrets of an environment, or those under a prefix, whose values the actor may read.

    No decoy is among them.
    """
    secrets = Secret.objects.filter(
        visible(actor, Action.SECRET_EXPORT), environment_id=environment.pk, live=True, decoy=None
    )
    # "0" follows "/" in the order of bytes.
    inside = Q(name=prefix) | Q(name__gt=f"{prefix}/", name__lt=f"{prefix}0")
    return secrets.filter(inside) if prefix else secrets


def state_of(
    actor: Principal, environment: Environment | EnvironmentRow, *, prefix: str = "", form: str
) -> str:
    """Return the state of what the actor may read in an answer of some form; "" where that is nothing.

    It is one statement that reads no value, and a digest of the id and revision of each secret. Each change
    through Keeper raises the revision of a secret, or makes one come or go; what is edited in the database
    itself shows in the next full answer.
    """
    if prefix or not allows(actor, Action.SECRET_EXPORT, environment_id=environment.pk):
        rows = list(readable_secrets(actor, environment, prefix).order_by("pk").values_list("pk", "revision"))
    else:
        rows = _WHOLE.all(environment.pk)
    if not rows:
        return ""
    return hashlib.sha256(canonical_json([str(environment.uuid), prefix, form, rows])).hexdigest()[:_DIGITS]


def known_etags(header: str) -> frozenset[str]:
    """Return the ETags that the header `If-None-Match` names, with their quotes, or "*"."""
    return frozenset(each.removeprefix("W/") for each in parse_etags(header))


def is_known(etag: str, known: AbstractSet[str]) -> bool:
    """Return whether the ETag of a secret is one of those that its caller has."""
    return f'"{etag}"' in known or "*" in known


def is_unchanged(actor: Principal, state: str, known: str, *, kind: str) -> bool:
    """Return whether the header `If-None-Match` names this state; it is counted under a kind.

    Raises ConfirmationNeeded. No value leaves, so that no read is recorded.
    """
    if not state or f'"{state}"' not in known_etags(known):
        return False
    require_confirmed(actor)
    UNCHANGED_LISTS.labels(kind).inc()
    return True
