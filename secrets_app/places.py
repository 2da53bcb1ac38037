"""Finds the environments in which somebody may do something with secrets, be it under a prefix only."""

from django.db.models import QuerySet

from audit_app.actions import Action
from environments_app.models import Environment
from environments_app.policy import Principal, allows, visible_environments


def places_for(actor: Principal, action: Action) -> QuerySet[Environment]:
    """Return the environments in some part of which the actor may do this, in their order."""
    visible = Environment.objects.filter(visible_environments(actor))
    found = [place.pk for place in visible if may_somewhere(actor, action, place)]
    return Environment.objects.filter(pk__in=found).order_by("position", "name")


def may_somewhere(actor: Principal, action: Action, environment: Environment) -> bool:
    """Say whether the actor may do something in an environment, be it under a prefix only."""
    prefixes = {grant.prefix for grant in actor.grants if grant.environment_id == environment.pk}
    return any(allows(actor, action, environment_id=environment.pk, name=prefix) for prefix in prefixes)
