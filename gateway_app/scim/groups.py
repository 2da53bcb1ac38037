"""Groups: made, renamed and filled by the client that calls."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from environments_app.models import ProvisionedGroup, ScimPreset
from gateway_app.scim.answers import MAX_RESULTS
from gateway_app.scim.patch import patched
from gateway_app.scim.resources import ResourceView, common_column, id_is
from gateway_app.scim.schema import GROUP, USER, Resource, cleaned
from gateway_app.scim.views import body_of
from secrets_app.provisioning import groups

_MEMBERS: Final = "members"


class GroupResources(ResourceView):
    """What the groups of a client are."""

    kind = GROUP
    related = _MEMBERS

    def rows(self) -> QuerySet[ProvisionedGroup]:
        return groups.groups_of(self.caller)

    def column(self, name: str, operator: str, value: Any) -> Q:
        if operator == "eq" and name == "members.value":
            return id_is("group__group_members__user__provisioned__uuid", value)
        return common_column(name, operator, value)

    def compared(self, rows: QuerySet[ProvisionedGroup], names: set[str]) -> Iterable[tuple[int, Resource]]:
        found = list(rows)
        resources = self.resources(found, whole=_MEMBERS in names)
        return [(row.pk, resource) for row, resource in zip(found, resources, strict=True)]

    def described(self, rows: Sequence[ProvisionedGroup], *, whole: bool) -> Iterable[Resource]:
        found = groups.members_of(rows) if whole else {}
        base = self.request.build_absolute_uri(f"/scim/v2{USER.endpoint}")
        for row in rows:
            members = [{"value": str(uuid), "$ref": f"{base}/{uuid}"} for uuid in found.get(row.pk, ())]
            yield {**groups.attributes_of(row), **({_MEMBERS: members} if members else {})}


class GroupsView(GroupResources):
    """Answers for all groups."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """List groups, all or those that fit a filter. Raises ScimError."""
        return self.listed(request.GET)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Make a group. Raises as `groups.create` does."""
        row = groups.create(actor=self.actor, client=self.caller, wanted=cleaned(GROUP, body_of(request)))
        return self.shown(row, status=HTTPStatus.CREATED)


class GroupView(GroupResources):
    """Answers for one group."""

    def get(self, request: HttpRequest, id: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return a group. Raises Invisible."""
        row = groups.find(self.caller, self.id_of(id))
        return self.unchanged(row) or self.shown(row)

    def put(self, request: HttpRequest, id: str) -> HttpResponse:
        """Replace a group and its members. Raises as `groups.change` does."""
        sent = cleaned(GROUP, body_of(request))
        return self._large(self._changed(id, lambda _before: sent))

    def patch(self, request: HttpRequest, id: str) -> HttpResponse:
        """Change a group by operations. Raises as `groups.change` does."""
        body = body_of(request)
        row = self._changed(id, lambda before: patched(GROUP, {"id": id.lower(), **before}, body))
        if self.caller.preset == ScimPreset.ENTRA:
            # As Entra's document asks.
            return HttpResponse(status=HTTPStatus.NO_CONTENT)
        return self._large(row)

    def delete(self, request: HttpRequest, id: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Take everybody out of a group, and forget it. Raises as `groups.remove` does."""
        groups.remove(actor=self.actor, client=self.caller, id=self.id_of(id), require=self.condition())
        return HttpResponse(status=HTTPStatus.NO_CONTENT)

    def _changed(self, id: str, edit: groups.Edit) -> ProvisionedGroup:
        return groups.change(
            actor=self.actor, client=self.caller, id=self.id_of(id), edit=edit, require=self.condition()
        )

    def _large(self, row: ProvisionedGroup) -> HttpResponse:
        """Return a changed group, without its members where they are many."""
        many = row.group.group_members.count() > MAX_RESULTS
        return self.shown(row, excluded=_MEMBERS if many else "")
