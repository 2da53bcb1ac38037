"""The site of the Django admin: models by task, what needs attention, and the operator's recent acts."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from environments_app.authentication.drf import principal_of
from keeper_project.admin_site.counts import attention_by_group
from keeper_project.admin_site.groups import GROUPS, NAMES, group_of
from keeper_project.admin_site.recent_acts import recent_acts
from keeper_project.admin_site.search import LONGEST, find
from keeper_project.ui.operator_pages import OPERATOR_PAGES


class KeeperAdminSite(AdminSite):
    """Django's site, whose index and sidebar show models by task instead of by app."""

    site_title = "Keeper"
    site_header = "Keeper operations"
    index_title = "Operations"

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
            {"name": group.name, "app_label": group.key, "app_url": f"{index}#{group.key}", "models": models}
            for group in GROUPS
            if (models := grouped[group.key])
        ]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        counted = attention_by_group(self, request)
        groups = [
            {
                **group,
                "attention": counted.get(group["app_label"], []),
                "pages": [page for page in OPERATOR_PAGES if page.group == group["app_label"]],
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
