"""References on a secret's page: which secrets its value names, and which ones name it."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final
from uuid import UUID

from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from secrets_app.interfaces.secret_panels import Cell, Filter
from secrets_app.models import Secret
from secrets_app.persistence.references import Place, naming
from secrets_app.queries.lookup import visible_secrets

_SHOWN: Final = 50


class ReferencePanel:
    """The part of references in the pages of secrets; of other secrets it shows those the actor may see."""

    filters: Mapping[str, Filter] = {}

    def panel(self, *, actor: Principal, secret: Secret) -> Mapping[str, Any] | None:
        """Return the references to and from a secret; None if there are none."""
        places = [Place(row.environment, row.name) for row in secret.references.all()]
        named = _named(actor, places) if places else {}
        seen = (
            each
            for each in sorted(naming([Place.of(secret)]))
            if allows(actor, Action.SECRET_VIEW, environment_id=each.environment_id, name=each.place.name)
        )
        followers = [_row(each.place, each.pk) for each in islice(seen, _SHOWN)]
        if not (secret.uses_references or followers):
            return None
        return {
            "template": "secrets_app/_reference_panel.html",
            "resolves": secret.uses_references,
            "sources": [_row(place, named[place].pk) for place in places if place in named],
            "hidden": sum(place not in named for place in places),
            "followers": followers,
        }

    def cells(self, *, actor: Principal, secrets: Sequence[Secret]) -> Mapping[UUID, Sequence[Cell]]:  # noqa: ARG002 - nothing to show
        """Return nothing: the list has no column for references."""
        return {}


def _named(actor: Principal, places: Sequence[Place]) -> dict[Place, Secret]:
    """Return those of some secrets that exist and are visible to the actor."""
    rows = visible_secrets(actor).filter(
        environment__name__in={place.environment for place in places},
        name__in={place.name for place in places},
    )
    return {Place.of(row): row for row in rows}


def _row(place: Place, pk: int) -> dict[str, Any]:
    return {"place": place, "url": reverse("secret-detail", args=[pk])}
