"""Stars of a person: which secrets have one, and giving or taking one."""

from collections.abc import Iterable

from django.db.models import Q

from environments_app.authorization.policy import Principal
from environments_app.models import User
from secrets_app.models import Secret, Star


def starred(actor: Principal) -> Q:
    """Return the condition on secrets that the actor starred."""
    return Q(pk__in=Star.objects.filter(user__uuid=actor.uuid).values("secret_id"))


def stars_among(actor: Principal, secrets: Iterable[Secret]) -> set[int]:
    """Return the ids of those of these secrets that the actor starred, in one statement."""
    own = Star.objects.filter(user__uuid=actor.uuid, secret__in=[secret.pk for secret in secrets])
    return set(own.values_list("secret_id", flat=True))


def set_star(actor: Principal, secret: Secret, *, starred: bool) -> None:
    """Star a secret for the actor, or take the star away; both may be repeated."""
    user = User.objects.get(uuid=actor.uuid)
    if starred:
        Star.objects.get_or_create(user=user, secret=secret)
    else:
        Star.objects.filter(user=user, secret=secret).delete()
