"""Searches whose filter no address shows (RFC 7644, 3.4.3): of users, of groups, and of both."""

from typing import Final

from django.http import HttpRequest, HttpResponse

from gateway_app.scim.answers import list_document, respond
from gateway_app.scim.groups import GroupResources
from gateway_app.scim.resources import ResourceView
from gateway_app.scim.schema import ScimError
from gateway_app.scim.users import UserResources
from gateway_app.scim.views import ScimView, page_of, searched

_KINDS: Final = (UserResources, GroupResources)


class SearchUsersView(UserResources):
    """Answers searches of users."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """List users by a request with a body. Raises ScimError."""
        return self.listed(searched(request))


class SearchGroupsView(GroupResources):
    """Answers searches of groups."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """List groups by a request with a body. Raises ScimError."""
        return self.listed(searched(request))


class SearchView(ScimView):
    """Answers searches of users and groups at once."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """List users, then groups, of the kinds that have the attributes of the filter. Raises ScimError."""
        query = searched(request)
        start, count = page_of(query)
        found: list[tuple[ResourceView, int]] = []
        refused: list[ScimError] = []
        for kind in _KINDS:
            view: ResourceView = kind()
            view.setup(request)
            view.actor, view.client = self.actor, self.client
            try:
                matching = view.matching(query.get("filter", ""))
                keys = matching if isinstance(matching, list) else matching.values_list("pk", flat=True)
                found += [(view, pk) for pk in keys]
            except ScimError as error:
                refused.append(error)
        if len(refused) == len(_KINDS):
            raise refused[0]
        page: dict[ResourceView, list[int]] = {}
        for view, pk in found[start - 1 : start - 1 + count]:
            page.setdefault(view, []).append(pk)
        resources = [
            resource for each, keys in page.items() for resource in each.chosen_of(each.page(keys), query)
        ]
        return respond(list_document(resources, total=len(found), start=start))
