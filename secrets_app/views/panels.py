"""Panels that settings name: the key and the one-time links of an environment, and references of a secret.

The panel of the key shows what the last check found, and what is pending. Everything comes from the
database: no key is used, and its keeper is not called. The panel of references shows which secrets a value
names, and which ones name it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Q
from django.urls import reverse

from environments_app.authorization.policy import Principal
from environments_app.models import Environment
from secrets_app.interfaces import Cell, Filter
from secrets_app.key_operations.reencrypt import legacy_rows
from secrets_app.key_operations.report import reference_of
from secrets_app.keys.models import VALUES
from secrets_app.keys.wrapping import KMS
from secrets_app.models import DataKey, Secret, SecretVersion, WrappingKey
from secrets_app.queries.lookup import visible_secrets
from secrets_app.rows.references import Place, naming_visibly
from secrets_app.services.share import open_shares


@dataclass(frozen=True)
class PendingKeyWork:
    what: str
    command: str


class KeyPanel:
    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        key = WrappingKey.objects.filter(scope=environment.uuid).first()
        active = DataKey.objects.filter(scope=environment.uuid, purpose=VALUES, active=True).first()
        return {
            "template": "secrets_app/_key_panel.html",
            "anchor": "key",
            "tab": "settings",
            "reference": reference_of(environment),
            "key": key,
            "problem": key.problem if key else "",
            "active": active,
            "failing": DataKey.objects.filter(scope=environment.uuid).exclude(check_problem="").first(),
            "pending": list(_pending(environment, key)),
        }


class LinksPanel:
    """The one-time links of an environment that can still be opened, for managers, who end them."""

    def panel(self, *, environment: Environment) -> Mapping[str, Any]:
        return {
            "template": "secrets_app/_links_panel.html",
            "anchor": "links",
            "title": "Links",
            "shares": open_shares(environment=environment),
        }


def _pending(environment: Environment, key: WrappingKey | None) -> Iterator[PendingKeyWork]:
    chosen = f"--environment {environment.name}"
    if key is not None and key.reference != reference_of(environment):
        yield PendingKeyWork("The key was changed since the last check", f"keeper kms key-info {chosen}")
    counted = _data_keys(environment, key)
    if counted["old"]:
        yield PendingKeyWork(
            _many(counted["old"], "data key", "under an old key"), f"keeper kms rotate {chosen}"
        )
    if counted["elsewhere"]:
        command = (
            "migrate to-kms --no-dry-run" if settings.KEY_MANAGEMENT_BACKEND == KMS else "rollback-kms BACKUP"
        )
        yield PendingKeyWork(
            _many(counted["elsewhere"], "data key", "not yet where new ones are wrapped"), f"keeper {command}"
        )
    if counted["both"]:
        yield PendingKeyWork(
            _many(counted["both"], "data key", "with both wraps, until the migration ends"),
            "keeper migrate to-kms --finalize",
        )
    # By way of their data keys, so that the many values under the active one are not gone through.
    older = SecretVersion.objects.filter(data_key__scope=environment.uuid, data_key__active=None).count()
    if older:
        yield PendingKeyWork(
            _many(older, "value", "under older data keys"), f"keeper kms rotate --reencrypt {chosen}"
        )
    legacy = legacy_rows().filter(secret__environment=environment).count()
    if legacy:
        yield PendingKeyWork(
            _many(legacy, "value", "of the older scheme"), f"keeper migrate to-kms --no-dry-run {chosen}"
        )


def _data_keys(environment: Environment, key: WrappingKey | None) -> dict[str, int]:
    here = Q(provider=settings.KEY_MANAGEMENT_BACKEND)
    # Without an answer the right key is unknown.
    old = here & ~Q(key_uri=key.key_uri) if key and key.key_uri else Q(pk=None)
    return DataKey.objects.filter(scope=environment.uuid).aggregate(
        old=Count("pk", filter=old),
        elsewhere=Count("pk", filter=~here),
        both=Count("pk", filter=~Q(other_provider="")),
    )


def _many(count: int, noun: str, where: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''} {where}"


_SHOWN: Final = 50


class ReferencePanel:
    """The part of references in the pages of secrets; of other secrets it shows those the actor may see."""

    filters: Mapping[str, Filter] = {}

    def panel(self, *, actor: Principal, secret: Secret) -> Mapping[str, Any] | None:
        places = [Place(row.environment, row.name) for row in secret.references.all()]
        named = _named(actor, places) if places else {}
        followers = [_row(each.place, each.pk) for each in naming_visibly(actor, secret)[0][:_SHOWN]]
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
        return {}


def _named(actor: Principal, places: Sequence[Place]) -> dict[Place, Secret]:
    rows = visible_secrets(actor).filter(
        environment__name__in={place.environment for place in places},
        name__in={place.name for place in places},
    )
    return {Place.of(row): row for row in rows}


def _row(place: Place, pk: int) -> dict[str, Any]:
    return {"place": place, "url": reverse("secret-detail", args=[pk])}
