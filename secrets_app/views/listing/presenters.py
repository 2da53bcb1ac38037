"""Prepares secrets for their list: a row each, and the filters in force in words."""

from collections.abc import Sequence
from typing import Any

from django.http import QueryDict
from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from secrets_app.forms.secret import FilterForm
from secrets_app.interfaces.secret_panels import Cell
from secrets_app.models import Secret
from secrets_app.views.presenters import MASK_AFTER_SECONDS

__all__ = ["MASK_AFTER_SECONDS", "active_filters", "list_row"]


def list_row(secret: Secret, cells: Sequence[Cell], *, actor: Principal) -> dict[str, Any]:
    """Return a row of the list of secrets."""
    readable = secret.live is not None and allows(
        actor, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name
    )
    return {
        "cells": cells,
        "id": secret.pk,
        "pick": f"{secret.pk}:{secret.etag}",
        "can_reveal": readable,
        "reveal_url": reverse("secret-reveal", args=[secret.pk]),
        "star_url": reverse("secret-star", args=[secret.pk]),
        "copy_url": reverse("secret-copy", args=[secret.pk]),
        "name": secret.name,
        "secret_type": secret.secret_type,
        "type_label": secret.get_secret_type_display(),
        "version": secret.current_number,
        "tags": secret.tags,
        "owner": secret.owner,
        "expires_at": secret.expires_at,
        "rotated_at": secret.rotated_at,
        "updated_at": secret.updated_at,
        "deleted_at": secret.deleted_at,
        "environment": secret.environment,
        "url": reverse("secret-detail", args=[secret.pk]),
    }


def active_filters(form: FilterForm, query: QueryDict) -> list[dict[str, str]]:
    """Return each filter in force, in words, with the address of the list without it."""
    found = []
    for name in form.narrowing:
        text = query.get(name, "")
        if text:
            rest = query.copy()
            for dropped in (name, "cursor", "first"):
                rest.pop(dropped, None)
            url = f"?{rest.urlencode()}" if rest else reverse("secret-list")
            found.append({"label": form.words(name, text), "remove_url": url})
    return found
