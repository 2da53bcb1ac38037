"""What users and groups have in common: how they are shown, listed, filtered and changed on a condition."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpResponse

from audit_app.integrity.row_authentication import verified_rows
from environments_app.models import ProvisionedGroup, ProvisionedUser
from gateway_app.scim.answers import address, chosen, list_document, respond
from gateway_app.scim.filters import Both, Compare, Inside, Node, fits, names, parsed
from gateway_app.scim.schema import Kind, Resource, ScimError, invalid
from gateway_app.scim.views import ScimView, page_of

Row = ProvisionedUser | ProvisionedGroup
META: Final = ("created_at", "changed_at", "revision")
_TIMES: Final = {"meta.created": "created_at", "meta.lastModified": "changed_at"}
# What every database can compare in any time zone.
_YEARS: Final = range(1971, 9000)


class ResourceView(ScimView):
    """Answers for the resources of a kind."""

    kind: Kind
    # The attribute that costs a statement, and is left out where nobody asks for it.
    related: str

    def rows(self) -> QuerySet[Any]:
        """Return the rows of the client, in the order in which they came."""
        raise NotImplementedError

    def column(self, name: str, operator: str, value: Any) -> Q:
        """Return what the database asks of rows for a comparison ; an empty one where it does not know."""
        raise NotImplementedError

    def compared(self, rows: QuerySet[Any], names: set[str]) -> Iterable[tuple[int, Resource]]:
        """Yield the keys of rows, and what a filter asks for of each, without a model of each."""
        raise NotImplementedError

    def described(self, rows: Sequence[Any], *, whole: bool) -> Iterable[Resource]:
        """Yield what is stored of rows under announced names; `whole`: with what is related."""
        raise NotImplementedError

    def resources(self, rows: Sequence[Any], *, whole: bool = True) -> list[Resource]:
        """Return rows as the protocol describes them."""
        return [
            {
                "schemas": [self.kind.urn],
                "id": str(row.uuid),
                **described,
                "meta": self.meta(row.uuid, row.created_at, row.changed_at, row.revision),
            }
            for row, described in zip(rows, self.described(rows, whole=whole), strict=True)
        ]

    def meta(self, uuid: UUID, created_at: datetime, changed_at: datetime, revision: int) -> Resource:
        """Return the facts about a resource, by the columns of META."""
        return {
            "resourceType": self.kind.name,
            "created": _time_text(created_at),
            # A row that is new is stored a moment after it was changed.
            "lastModified": _time_text(max(created_at, changed_at)),
            "location": self.location(uuid),
            "version": tag(revision),
        }

    def location(self, uuid: UUID) -> str:
        return address(self.request, f"{self.kind.endpoint}/{uuid}")

    def shown(self, row: Row, *, status: int = HTTPStatus.OK, excluded: str = "") -> HttpResponse:
        """Return a resource, with what the request asks for."""
        query = self.request.GET
        wanted, left_out = query.get("attributes", ""), query.get("excludedAttributes", "") or excluded
        resource = self.resources([row], whole=self._asks(wanted, left_out))[0]
        headers = {"ETag": resource["meta"]["version"]}
        if status == HTTPStatus.CREATED:
            headers["Location"] = resource["meta"]["location"]
        return respond(chosen(self.kind, resource, wanted, left_out), status=status, headers=headers)

    def listed(self, query: Mapping[str, Any]) -> HttpResponse:
        """Return a page of the resources that fit a filter, in the order in which they came."""
        start, count = page_of(query)
        found = self.matching(query.get("filter", ""))
        total = found.count() if isinstance(found, QuerySet) else len(found)
        page = self.page(found[start - 1 : start - 1 + count])
        return respond(list_document(self.chosen_of(page, query), total=total, start=start))

    def page(self, found: "QuerySet[Any] | list[int]") -> list[Any]:
        """Return the genuine rows of a page, given as rows or keys."""
        rows = found if isinstance(found, QuerySet) else self.rows().filter(pk__in=found)
        return verified_rows(rows)

    def chosen_of(self, rows: Sequence[Any], query: Mapping[str, Any]) -> list[Resource]:
        """Return rows as the protocol describes them, with what a query asks for."""
        wanted, excluded = str(query.get("attributes", "")), str(query.get("excludedAttributes", ""))
        whole = self.resources(rows, whole=self._asks(wanted, excluded))
        return [chosen(self.kind, each, wanted, excluded) for each in whole]

    def matching(self, text: Any) -> "QuerySet[Any] | list[int]":
        """Return the keys of the rows that fit the text of a filter, all rows for none. Raises ScimError."""
        if not text:
            return self.rows()
        if not isinstance(text, str):
            raise invalid("A filter is a text.", "invalidFilter")
        node = parsed(text, self.kind)
        # The database narrows what it can; whether a row fits is judged in memory.
        rows = self.rows().filter(_condition(node, self.column))
        return [pk for pk, resource in self.compared(rows, names(node)) if fits(node, resource)]

    def unchanged(self, row: Row) -> HttpResponse | None:
        """Return the answer to a request that names the revision as it is, None for any other."""
        if matches(self.request.headers.get("If-None-Match", ""), row.revision):
            return HttpResponse(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag(row.revision)})
        return None

    def condition(self) -> Callable[[int], None]:
        """Return what raises ScimError unless a revision is the one that If-Match names."""
        header = self.request.headers.get("If-Match", "")

        def require(revision: int) -> None:
            if header and not matches(header, revision):
                raise ScimError(412, "", "The resource has changed. Read it again.")

        return require

    def id_of(self, text: str) -> UUID:
        """Return an id; nothing has another form. Raises ScimError."""
        try:
            return UUID(text)
        except ValueError as error:
            missing = f"This provider manages no {self.kind.name.lower()} of this id."
            raise ScimError(404, "", missing) from error

    def _asks(self, wanted: str, excluded: str) -> bool:
        return self.related in wanted.lower() if wanted else self.related not in excluded.lower()


def tag(revision: int) -> str:
    """Return the version of a resource, which is weak: what is the same may be written otherwise."""
    return f'W/"{revision}"'


def matches(header: str, revision: int) -> bool:
    """Return whether a header of conditions names a revision."""
    names = [name.strip().removeprefix("W/") for name in header.split(",")]
    return "*" in names or f'"{revision}"' in names


def _condition(node: Node, column: Callable[[str, str, Any], Q], within: str = "") -> Q:
    """Return what the database asks of rows, such that none that fits a filter is left out."""
    if isinstance(node, Compare) and node.value is not None:
        parts = [within, node.attribute.name, node.inside.name if node.inside else ""]
        return column(".".join(filter(None, parts)), node.operator, node.value)
    if isinstance(node, Inside):
        return _condition(node.filter, column, node.attribute.name)
    if not isinstance(node, Both):
        return Q()
    left, right = _condition(node.left, column, within), _condition(node.right, column, within)
    if node.either:
        return left | right if left and right else Q()
    return left & right


def common_column(name: str, operator: str, value: Any) -> Q:
    """Return what the database asks of the attributes that all kinds have."""
    if operator == "eq" and name in {"id", "externalId"}:
        return Q(external_id=value) if name == "externalId" else id_is("uuid", value)
    column = _TIMES.get(name)
    if column and operator in {"gt", "ge"}:
        moment = datetime.fromisoformat(value)
        # The text of a time has no microseconds, so that one is never after the time itself.
        return Q(**{f"{column}__gte": moment}) if moment.year in _YEARS else Q()
    return Q()


def id_is(column: str, value: str) -> Q:
    """Return that a column holds an id; nothing has one of another form."""
    try:
        return Q(**{column: UUID(value)})
    except ValueError:
        return Q(pk__in=[])


def _time_text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
