"""The panel of released programs: on the page of a guarded secret, and on that of a token or trust."""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from audit_app.events.actions import Action
from environments_app.approvals.program_releases import standing
from environments_app.authorization.policy import Principal, allows
from environments_app.models import Environment


def release_panel(
    viewer: Principal,
    environment: Environment,
    *,
    programs: Collection[UUID] | None = None,
    about: tuple[UUID, str] | None = None,
    **filled_in: str,
) -> dict[str, Any]:
    """Return what `_program_releases.html` shows of some programs, or about one secret: its uuid and name.

    `filled_in` are fields of the form that the panel leads to. It is empty for who may not see tokens.
    """
    place = environment.pk
    if not allows(viewer, Action.TOKEN_VIEW, environment_id=place):
        return {}
    may_release = allows(viewer, Action.SECRET_RELEASE, environment_id=place)
    form = reverse("release-new", args=[environment.name])
    return {
        "sees_releases": True,
        "about_secret": about is not None,
        "releases": standing(environment, programs=programs, about=about),
        "release_url": f"{form}?{urlencode(filled_in)}" if may_release else "",
        "may_end_releases": allows(viewer, Action.SECRET_RELEASE_END, environment_id=place),
    }
