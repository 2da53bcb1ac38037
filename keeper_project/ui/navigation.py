"""What the frame of every page shows: the rail, the environments, the person."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from environments_app.access_requests import service as access_requests
from environments_app.approvals.service import approved_among, rejected_among, resolved_for, waiting_for
from environments_app.authentication.drf import principal_of
from environments_app.authentication.sign_in import saml_subject
from environments_app.authorization.policy import SUSPENDED, Principal, environments_for, visible_environments
from environments_app.models import AccessRequest, Approval, Environment, PersonalSettings
from environments_app.sessions.store import Remaining, remaining
from environments_app.users.preferences import settings_of
from environments_app.views.base import page_environment
from keeper_project.inbox.items import count_new
from sync_app.views.presenters.targets import attention

_KEPT: Final = "keeper_frame"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the sidebar; `count` is the number of pending tasks there."""

    label: str
    url: str
    icon: str
    active: bool
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class PageSession:
    """The session that a page belongs to, for the scripts that watch over it."""

    person: str
    name: str
    left: Remaining | None
    single_sign_on: bool


class Layout:
    """The frame of one page; nothing is read from the database that the page does not show."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def person(self) -> Principal:
        """The signed-in user."""
        return principal_of(self._request)

    @property
    def session(self) -> PageSession:
        """The session of the person, and how they sign in again."""
        by_provider = bool(settings.KEEPER_SAML) and saml_subject(self._request) is not None
        return PageSession(
            person=str(self.person.uuid) if self.person.kind is ActorKind.USER else "",
            name=self.person.name,
            left=remaining(self._request.session),
            single_sign_on=by_provider,
        )

    @cached_property
    def chosen(self) -> PersonalSettings:
        """What the person chose for themselves."""
        return settings_of(self.person)

    @cached_property
    def environments(self) -> list[Environment]:
        """The environments that the person may see."""
        return list(
            Environment.objects.filter(visible_environments(self.person)).order_by("position", "name")
        )

    @cached_property
    def current(self) -> Environment | None:
        """The environment that the page is inside: named by the view, or by the address of a list."""
        named = self._request.GET.get("environment")
        listed = (environment for environment in self.environments if environment.name == named)
        return page_environment(self._request) or (next(listed, None) if named else None)

    @cached_property
    def suspended_in(self) -> list[str]:
        """The environments in which the person's access is suspended; inside one, that one alone."""
        here = self.current
        names = {
            grant.environment_name
            for grant in self.person.grants
            if grant.held and (here is None or grant.environment_id == here.pk)
        }
        return sorted(names)

    @property
    def suspension(self) -> str:
        """What it means that access is suspended."""
        return SUSPENDED

    @cached_property
    def nav(self) -> list[Entry]:
        """The entries of the rail that lead somewhere for this person."""
        entries = [
            ("Dashboard", reverse("dashboard"), "dashboard"),
            ("Secrets", reverse("secret-list"), "key"),
            ("Sync", reverse("sync"), "sync"),
            ("Rotation", reverse("rotation"), "rotate"),
            ("Environments", reverse("environment-list"), "layers"),
            ("Approvals", reverse("approval-list"), "approve"),
            ("Activity", reverse("activity"), "activity"),
        ]
        if environments_for(self.person, Action.TRAIL_VIEW) is not None:
            entries.append(("Reports", reverse("reports"), "report"))
        if self.person.is_admin:
            entries.append(("Health", reverse("health"), "health"))
            entries.append(("Integrity", reverse("integrity"), "check"))
            entries.append(("Backups", reverse("backups"), "shield"))
            entries.append(("Admin", reverse("admin:index"), "admin"))
        return [
            Entry(
                label=label,
                url=url,
                icon=icon,
                active=self._is_at(url),
                count=self._count(icon),
            )
            for label, url, icon in entries
        ]

    @cached_property
    def waiting(self) -> list[Approval]:
        """The requests that this person may decide."""
        return waiting_for(self.person)

    @cached_property
    def decided(self) -> list[Approval]:
        """The outcome of the user's own requests."""
        return resolved_for(self.person)

    @property
    def ready(self) -> list[Approval]:
        """The user's own requests that are ready to be carried out."""
        return approved_among(self.decided)

    @property
    def refused(self) -> list[Approval]:
        """The user's own requests that were refused since their last visit to the notifications."""
        seen = self.chosen.notices_seen_at
        return [
            row
            for row in rejected_among(self.decided)
            if seen is None or (row.decided_at and row.decided_at > seen)
        ]

    @cached_property
    def asking(self) -> list[AccessRequest]:
        """The requests for access that this person may answer."""
        return access_requests.waiting_for(self.person)

    @cached_property
    def notices(self) -> int:
        """How much is new to the person since they looked at their notifications."""
        seen = self.chosen.notices_seen_at
        return count_new(self.person, seen=seen, requests=[*self.waiting, *self.decided, *self.asking])

    def _count(self, icon: str) -> int:
        """Return how much behind an entry needs this person."""
        if icon == "sync":
            return attention(self.person)
        if icon == "approve":
            return len(self.waiting) + len(self.ready) + len(self.asking)
        return 0

    def _is_at(self, url: str) -> bool:
        path = self._request.path
        return path == url or (url != "/" and path.startswith(url))


def frame_of(request: HttpRequest) -> Layout:
    """Return the frame of a page, one object for each request, so nothing is queried twice."""
    found = getattr(request, _KEPT, None)
    if not isinstance(found, Layout):
        found = Layout(request)
        setattr(request, _KEPT, found)
    return found


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give every template its frame (a context processor)."""
    return {"frame": frame_of(request)}
