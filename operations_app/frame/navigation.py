"""What the frame of every page shows: the navigation, the environments, the person."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from environments_app.access_requests import service as access_requests
from environments_app.approvals.service import in_state, resolved_for, waiting_for
from environments_app.authentication.drf import principal_of
from environments_app.authentication.sign_in import provider_subject
from environments_app.authorization.policy import SUSPENDED, Principal, environments_for, visible_environments
from environments_app.models import AccessRequest, Approval, ApprovalState, Environment, PersonalSettings
from environments_app.sessions.store import Remaining, remaining
from environments_app.single_sign_on.answers import start_address
from environments_app.users.preferences import settings_of
from environments_app.views.base import last_environment, page_environment
from operations_app.frame import environment_choice
from operations_app.health.schema import installed_version
from operations_app.inbox.items import count_new
from secrets_app.queries.lookup import can_in_any_scope, visible_secrets
from sync_app.views.presenters.targets import attention

_KEPT: Final = "keeper_frame"
# Pages about one secret: the same page of the one of its name in another environment.
_OF_A_SECRET: Final = frozenset({"secret-detail", "secret-usage"})
# Label, name of the address, icon.
_WORKSPACE: Final = (
    ("Dashboard", "dashboard", "dashboard"),
    ("Secrets", "secret-list", "key"),
    ("Environments", "environment-list", "layers"),
    ("Sync", "sync", "sync"),
    ("Rotation", "rotation", "rotate"),
)
_GOVERNANCE: Final = (("Approvals", "approval-list", "approve"), ("Activity", "activity", "activity"))
_OPERATIONS: Final = (
    ("Health", "health", "health"),
    ("Integrity", "integrity", "check"),
    ("Backups", "backups", "shield"),
    ("Admin", "admin:index", "admin"),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the sidebar; `count` is the number of pending tasks there."""

    group: str
    label: str
    url: str
    icon: str
    active: bool
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An entry of the switcher; `environment` is None for all environments."""

    environment: Environment | None
    url: str
    active: bool


@dataclass(frozen=True, kw_only=True)
class QuickAction:
    """Something that the command palette offers to do."""

    label: str
    url: str
    icon: str


@dataclass(frozen=True, kw_only=True)
class PageSession:
    """The session that a page belongs to, for the scripts that watch over it."""

    person: str
    name: str
    left: Remaining | None
    # Where an identity provider signs them in; empty for a local account.
    sign_on_url: str


class Layout:
    """The frame of one page; nothing is read from the database that the page does not show."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        environment_choice.remember(request)

    @property
    def version(self) -> str:
        return installed_version()

    @property
    def documentation_url(self) -> str:
        return str(settings.KEEPER_DOCUMENTATION_URL)

    @cached_property
    def person(self) -> Principal:
        return principal_of(self._request)

    @property
    def session(self) -> PageSession:
        """The session of the person, and how they sign in again."""
        return PageSession(
            person=str(self.person.uuid) if self.person.kind is ActorKind.USER else "",
            name=self.person.name,
            left=remaining(self._request.session),
            sign_on_url=start_address(provider_subject(self._request), reverse("signed-in"), again=False),
        )

    @cached_property
    def chosen(self) -> PersonalSettings:
        return settings_of(self.person)

    @cached_property
    def environments(self) -> list[Environment]:
        return list(
            Environment.objects.filter(visible_environments(self.person)).order_by("position", "name")
        )

    @cached_property
    def current(self) -> Environment | None:
        """The environment that the page is inside: named by the view, or by the address of a list.

        A page of the whole installation is inside none.
        """
        if environment_choice.is_of_all(self._request):
            return None
        name = self._request.GET.get("environment")
        listed = (environment for environment in self.environments if environment.name == name)
        return page_environment(self._request) or (next(listed, None) if name else None)

    @cached_property
    def working_in(self) -> Environment | None:
        """The environment that the switcher shows: that of the page, else the one chosen last.

        A list that an environment narrows shows all of them unless its address names one; a page of
        the whole installation always does.
        """
        if environment_choice.is_of_all(self._request):
            return None
        if self.current or environment_choice.is_narrowed(self._request):
            return self.current
        return self._last_chosen

    @cached_property
    def _last_chosen(self) -> Environment | None:
        name = last_environment(self._request)
        return (
            next((environment for environment in self.environments if environment.name == name), None)
            if name
            else None
        )

    @property
    def choices(self) -> list[Choice]:
        """The entries of the switcher, all environments first."""
        elsewhere = self._same_secret_elsewhere()
        return [
            Choice(
                environment=environment,
                url=(environment and elsewhere.get(environment.pk))
                or environment_choice.switch_url(self._request, environment.name if environment else ""),
                active=environment == self.working_in,
            )
            for environment in (None, *self.environments)
        ]

    def _same_secret_elsewhere(self) -> dict[int, str]:
        """Return the address of this page for the secret of the same name, by environment."""
        match = self._request.resolver_match
        if match is None or match.url_name not in _OF_A_SECRET:
            return {}
        seen = visible_secrets(self.person)
        same = seen.filter(name__in=seen.filter(pk=match.kwargs["id"]).values("name"))
        return {
            place: reverse(match.url_name, args=[pk])
            for place, pk in same.values_list("environment_id", "pk")
        }

    @property
    def actions(self) -> list[QuickAction]:
        """What the command palette offers to do, as far as this person can."""
        actions = []
        if any(can_in_any_scope(self.person, Action.SECRET_CREATE, place) for place in self.environments):
            actions.append(("New secret", "secret-new", "plus"))
            actions.append(("Import secrets", "secret-import", "plus"))
        if self.person.is_admin:
            actions.append(("New environment", "environment-new", "layers"))
        if len(self.environments) > 1:
            actions.append(("Compare environments", "secret-matrix", "compare"))
        if not self.person.is_auditor:
            actions.append(("Request access", "access-request-new", "key"))
        actions.append(("Account settings", "profile", "person"))
        actions.append(("Notifications", "notices", "bell"))
        return [QuickAction(label=label, url=self.url_of(view), icon=icon) for label, view, icon in actions]

    def url_of(self, view: str) -> str:
        """Return the address of a page, in the environment that the person works in where it has one."""
        chosen = self._last_chosen if environment_choice.is_of_all(self._request) else self.working_in
        return environment_choice.narrowed_url(view, chosen.name if chosen else "")

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
        return SUSPENDED

    @cached_property
    def nav(self) -> list[Entry]:
        """The entries of the sidebar that lead somewhere for this person, in three groups."""
        chosen = self.current or self._last_chosen
        name = chosen.name if chosen else ""
        return [
            Entry(
                group=group,
                label=label,
                url=environment_choice.narrowed_url(view, name),
                icon=icon,
                active=self._is_at(reverse(view)),
                count=self._count(icon),
            )
            for group, entries in self._groups()
            for label, view, icon in entries
        ]

    def _groups(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        workspace = list(_WORKSPACE)
        if environments_for(self.person, Action.TOKEN_VIEW) is not None:
            workspace.append(("Service tokens", "token-list", "token"))
        governance = list(_GOVERNANCE)
        if environments_for(self.person, Action.TRAIL_VIEW) is not None:
            governance.append(("Access reviews", "review-list", "list"))
            governance.append(("Reports", "reports", "report"))
            governance.append(("Departures", "departures", "leave"))
        if self.person.sees_installation:
            governance.append(("People", "people", "people"))
        groups = [("Workspace", workspace), ("Governance", governance)]
        return [*groups, ("Operations", list(_OPERATIONS))] if self.person.sees_installation else groups

    @cached_property
    def waiting(self) -> list[Approval]:
        return waiting_for(self.person)

    @cached_property
    def decided(self) -> list[Approval]:
        return resolved_for(self.person)

    @property
    def ready(self) -> list[Approval]:
        return in_state(self.decided, ApprovalState.APPROVED)

    @property
    def refused(self) -> list[Approval]:
        """The user's own requests that were refused since their last visit to the notifications."""
        seen_at = self.chosen.notices_seen_at
        return [
            row
            for row in in_state(self.decided, ApprovalState.REJECTED)
            if seen_at is None or (row.decided_at and row.decided_at > seen_at)
        ]

    @cached_property
    def asking(self) -> list[AccessRequest]:
        return access_requests.waiting_for(self.person)

    @cached_property
    def answered(self) -> list[AccessRequest]:
        return access_requests.answered_for(self.person)

    @cached_property
    def notices(self) -> int:
        """How much is new to the person since they looked at their notifications."""
        seen_at = self.chosen.notices_seen_at
        return count_new(
            self.person,
            seen=seen_at,
            waiting=self.waiting,
            others=[*self.decided, *self.asking, *self.answered],
        )

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
    frame = getattr(request, _KEPT, None)
    if not isinstance(frame, Layout):
        frame = Layout(request)
        setattr(request, _KEPT, frame)
    return frame


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give every template its frame (a context processor)."""
    return {"frame": frame_of(request)}
