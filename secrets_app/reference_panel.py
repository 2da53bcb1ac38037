"""References on a secret's page: which secrets its value names, and which ones name it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db.models import Exists, OuterRef
from django.urls import reverse

from environments_app.policy import Principal
from secrets_app.finding import visible_secrets
from secrets_app.models import Reference, Secret
from secrets_app.panels import Cell, Filter
from secrets_app.references import Place

_SHOWN: Final = 50


class ReferencePanel:
    """The part of references in the pages of secrets; of other secrets it shows those one may see."""

    filters: Mapping[str, Filter] = {}

    def panel(self, *, actor: Principal, secret: Secret) -> Mapping[str, Any] | None:
        """Return the references to and from a secret; None if there are none."""
        places = [Place(row.environment, row.name) for row in secret.references.all()]
        named = _named(actor, places) if places else {}
        own = Reference.objects.filter(
            secret=OuterRef("pk"), environment=secret.environment.name, name=secret.name
        )
        naming = visible_secrets(actor).filter(Exists(own)).exclude(resolves_as="")
        followers = [_row(each) for each in naming.order_by("environment__name", "name")[:_SHOWN]]
        if not (secret.resolves_references or followers):
            return None
        return {
            "template": "secrets_app/_reference_panel.html",
            "resolves": secret.resolves_references,
            "sources": [_row(named[place]) for place in places if place in named],
            "hidden": sum(place not in named for place in places),
            "followers": followers,
        }

    def cells(self, *, actor: Principal, secrets: Sequence[Secret]) -> Mapping[UUID, Sequence[Cell]]:  # noqa: ARG002 - nothing to show
        """Return nothing: the list has no column for references."""
        return {}


def _named(actor: Principal, places: Sequence[Place]) -> dict[Place, Secret]:
    """Return those of some secrets that are there and that the actor may see."""
    rows = visible_secrets(actor).filter(
        environment__name__in={place.environment for place in places},
        name__in={place.name for place in places},
    )
    return {Place.of(row): row for row in rows}


def _row(secret: Secret) -> dict[str, Any]:
    return {"place": Place.of(secret), "url": reverse("secret-detail", args=[secret.pk])}
