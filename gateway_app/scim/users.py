"""Users: found, created, changed and deleted, as people of the client that calls."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from environments_app.models import ProvisionedUser
from environments_app.names import fold_username
from gateway_app.scim.answers import address
from gateway_app.scim.patch import patched
from gateway_app.scim.resources import META, ResourceView, common_column, id_is
from gateway_app.scim.schema import GROUP, USER, Resource, cleaned
from gateway_app.scim.views import body_of
from secrets_app.provisioning import groups, people

BATCH: Final = 500
# What decides whose the account is, and whether it is open, is said and not left out.
_KEPT: Final = ("active", "externalId")
_TEXT_LOOKUPS: Final = {"eq": "exact", "sw": "startswith", "ew": "endswith", "co": "contains"}


class UserResources(ResourceView):
    """What the users of a client are."""

    kind = USER
    related = "groups"

    def rows(self) -> QuerySet[ProvisionedUser]:
        return people.people_of(self.caller).order_by("pk")

    def column(self, name: str, operator: str, value: Any) -> Q:
        if name == "userName" and operator in _TEXT_LOOKUPS:
            return Q(**{f"user_name__{_TEXT_LOOKUPS[operator]}": fold_username(value)})
        if operator == "eq" and name == "active":
            return Q(user__is_active=value)
        if operator == "eq" and name == "groups.value":
            return id_is("user__group_memberships__group__provisioned__uuid", value)
        return common_column(name, operator, value)

    def compared(self, rows: QuerySet[ProvisionedUser], names: set[str]) -> Iterable[tuple[int, Resource]]:
        # Not all at once: what 5,000 people state is 12 MB.
        keys = list(rows.values_list("pk", flat=True))
        for at in range(0, len(keys), BATCH):
            some = rows.filter(pk__range=(keys[at], keys[at : at + BATCH][-1]))
            found = [*some.values_list("pk", "user", "uuid", "attributes", "user__is_active", *META)]
            places = groups.groups_with(self.caller, [each[1] for each in found]) if "groups" in names else {}
            for pk, user, uuid, attributes, is_active, *meta in found:
                yield (
                    pk,
                    {
                        **attributes,
                        "id": str(uuid),
                        "active": is_active,
                        **({"meta": self.meta(uuid, *meta)} if "meta" in names else {}),
                        "groups": self._places(places.get(user, ())),
                    },
                )

    def described(self, rows: Sequence[ProvisionedUser], *, whole: bool) -> Iterable[Resource]:
        found = groups.groups_with(self.caller, [row.user_id for row in rows]) if whole else {}
        for row in rows:
            places = self._places(found.get(row.user_id, ()))
            # Whether the person may use Keeper, whoever decided it last.
            active = {"active": row.user.is_active}
            yield {**row.attributes, **active, **({"groups": places} if places else {})}

    def _places(self, found: Iterable[tuple[UUID, str]]) -> list[Resource]:
        base = address(self.request, GROUP.endpoint) if found else ""
        return [{"value": str(uuid), "$ref": f"{base}/{uuid}", "display": name} for uuid, name in found]


class UsersView(UserResources):
    """Answers for all users."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """List users, all or those that fit a filter. Raises ScimError."""
        return self.listed(request.GET)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Create a user, or adopt the account of the same subject. Raises as `people.create` does."""
        row = people.create(actor=self.actor, client=self.caller, wanted=cleaned(USER, body_of(request)))
        return self.shown(row, status=HTTPStatus.CREATED)


class UserView(UserResources):
    """Answers for one user."""

    def get(self, request: HttpRequest, id: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Return a user. Raises Invisible."""
        row = people.find(self.caller, self.id_of(id))
        return self.unchanged(row) or self.shown(row)

    def put(self, request: HttpRequest, id: str) -> HttpResponse:
        """Replace a user; what is not sent is cleared, except _KEPT. Raises as `people.change` does."""
        sent = cleaned(USER, body_of(request))

        def replaced(before: Resource) -> Resource:
            return {**{name: before[name] for name in _KEPT if name in before}, **sent}

        return self._changed(id, replaced)

    def patch(self, request: HttpRequest, id: str) -> HttpResponse:
        """Change a user by operations. Raises as `people.change` does."""
        body = body_of(request)
        return self._changed(id, lambda before: patched(USER, {"id": id.lower(), **before}, body))

    def delete(self, request: HttpRequest, id: str) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """End the account of a user, and forget the user. Raises as `people.remove` does."""
        people.remove(actor=self.actor, client=self.caller, id=self.id_of(id), require=self.condition())
        return HttpResponse(status=HTTPStatus.NO_CONTENT)

    def _changed(self, id: str, edit: people.Edit) -> HttpResponse:
        row = people.change(
            actor=self.actor, client=self.caller, id=self.id_of(id), edit=edit, require=self.condition()
        )
        return self.shown(row)
