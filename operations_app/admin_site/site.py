"""The site of the Django admin: models by task, operator pages, sign-in, and the operator's recent acts.

Recent acts come from the audit log. Pages of operators that belong to no model appear in the header and on
the index. Keeper replaces the sign-in, sign-out and password views of Django's admin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from audit_app.events.actions import READS, Action
from audit_app.models import AuditEvent
from audit_app.queries import search
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal
from environments_app.models import User
from operations_app.admin_site.index import GROUPS, NAMES, attention_by_group, group_of
from operations_app.admin_site.search import LONGEST, find

SHOWN: Final = 10
# So many of the newest events are looked through: an operator who only reads has no recent act.
_EVENTS_SEARCHED: Final = 200
_OWN_SESSION: Final = frozenset({Action.SIGN_IN, Action.SIGN_OUT, Action.SESSION_CONFIRM})
_VIEW: Final = ".view"


def recent_acts(operator: Principal) -> Sequence[AuditEvent]:
    """Return the operator's last changes, newest first: neither reads, nor views, nor sign-ins."""
    own = search.events(viewer=operator, actor=operator.uuid, housekeeping=False)
    return [
        event
        for event in own[:_EVENTS_SEARCHED]
        if event.action not in READS | _OWN_SESSION and not event.action.endswith(_VIEW)
    ][:SHOWN]


@dataclass(frozen=True, kw_only=True)
class OperatorPage:
    """One page; `group` is the group of the admin's index that it is shown in."""

    title: str
    view: str
    group: str
    about: str
    query: str = ""

    @property
    def url(self) -> str:
        return reverse(self.view) + self.query


OPERATOR_PAGES: Final = (
    OperatorPage(
        title="Keys",
        view="admin-keys",
        group="secrets",
        about="Which key wraps what, connection tests, rotation, and the migration to KMS.",
    ),
    OperatorPage(
        title="Audit log",
        view="admin-audit",
        group="audit",
        about="Timeline, verification, sinks, and what retention would remove.",
    ),
    OperatorPage(
        title="System",
        view="admin-system",
        group="system",
        about="Settings, checks, schedules.",
    ),
    OperatorPage(
        title="Jobs",
        view="admin-system",
        query="?tab=work",
        group="system",
        about="What waits for a worker, what one holds, and what failed.",
    ),
    OperatorPage(title="Health", view="health", group="system", about="What Keeper depends on."),
    OperatorPage(title="Backups", view="backups", group="system", about="Backups, and how to restore one."),
    OperatorPage(
        title="Reports", view="reports", group="audit", about="Who has access, what was done, for auditors."
    ),
    OperatorPage(title="Integrity", view="integrity", group="audit", about="Scans of stored values."),
)


class KeeperAdminSite(AdminSite):
    """Django's site, whose index and top bar show models by task instead of by app."""

    site_title = "Keeper"
    site_header = "Keeper operations"
    index_title = "Operations"
    # The top bar has the lists, where the pages have environments.
    enable_nav_sidebar = False

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the groups as Django's templates take apps; those of one app if it is named."""
        entries = {
            (label := entry["model"]._meta.label): {**entry, "name": NAMES.get(label, entry["name"])}
            for app in super().get_app_list(request, app_label)
            for entry in app["models"]
        }
        grouped: dict[str, list[Any]] = {group.key: [] for group in GROUPS}
        order = [label for group in GROUPS for label in group.models]
        for label in sorted(entries, key=lambda label: order.index(label) if label in order else len(order)):
            grouped[group_of(label).key].append(entries[label])
        index = reverse(f"{self.name}:index")
        return [
            {
                "name": group.name,
                "app_label": group.key,
                "app_url": f"{index}#{group.key}",
                "models": models,
                "pages": [page for page in OPERATOR_PAGES if page.group == group.key],
            }
            for group in GROUPS
            if (models := grouped[group.key])
        ]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        counted = attention_by_group(self, request)
        groups = [
            {
                **group,
                "attention": counted.get(group["app_label"], []),
            }
            for group in self.get_app_list(request)
        ]
        added = {"groups": groups, "recent_acts": recent_acts(principal_of(request))}
        return super().index(request, {**added, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        return [path("search/", self.admin_view(self.search), name="search"), *super().get_urls()]

    def search(self, request: HttpRequest) -> TemplateResponse:
        text = request.GET.get("q", "")
        context = {
            **self.each_context(request),
            "title": "Search",
            "text": text[:LONGEST],
            "found": find(request, text),
        }
        return TemplateResponse(request, "admin/search.html", context)

    def app_index(
        self,
        request: HttpRequest,
        app_label: str,
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002 - Django's signature
    ) -> Any:
        """Lead to the index, which has no page for each app."""
        if not self.get_app_list(request, app_label):
            raise Http404
        return redirect(f"{self.name}:index")


@login_not_required
def enter(request: HttpRequest) -> HttpResponse:
    """Lead to the sign-in, which limits and records attempts; nothing that is posted here is read."""
    if isinstance(request.user, User):
        if not request.user.is_staff:
            raise PermissionDenied
        return redirect("admin:index")
    target = request.GET.get(REDIRECT_FIELD_NAME) or reverse("admin:index")
    return redirect_to_login(target)


@login_not_required
def absent(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Answer as if there were no such page: a password is replaced by a use case, in an account's form."""
    raise Http404
