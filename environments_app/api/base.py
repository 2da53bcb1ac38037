"""The base of the API's views, and the view of an act."""

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from django.db.models import QuerySet
from django.urls import is_valid_path
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from environments_app.authentication.drf import principal_of
from environments_app.authorization.act import Act
from environments_app.authorization.policy import Principal

NO_CONTENT = OpenApiResponse(description="Done; there is nothing to show.")


class AccessView(GenericAPIView[Any]):
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering: ClassVar[str] = "id"
    # For OpenAPI: the methods that a protected environment lets wait for an approval, whether a GET opens a
    # stored value or proves a row, and whether writing asks another system.
    needs_approval: ClassVar[frozenset[str]] = frozenset()
    opens_values: ClassVar[bool] = False
    asks_systems: ClassVar[bool] = False
    # The headers of an act that takes the state in which the row was read.
    conditions: ClassVar[tuple[OpenApiParameter, ...]] = ()

    @property
    def actor(self) -> Principal:
        return principal_of(self.request)

    def valid(self, serializer_class: type[BaseSerializer[Any]]) -> Any:
        """Return the serializer of a valid body. Raises ValidationError."""
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer

    def given(self, serializer_class: type[BaseSerializer[Any]]) -> dict[str, Any]:
        """Return the fields of a valid body. Raises ValidationError."""
        return dict(self.valid(serializer_class).validated_data)

    def page(self, rows: QuerySet[Any]) -> list[Any]:
        return list(self.paginate_queryset(rows) or [])

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Name the address of what a POST has created (RFC 9110, 15.3.2)."""
        answered: Response = super().finalize_response(request, response, *args, **kwargs)
        data = answered.data if answered.status_code == status.HTTP_201_CREATED else None
        if isinstance(data, dict) and not answered.has_header("Location"):
            name = next((str(data[key]) for key in ("id", "name") if key in data), "")
            address = f"{request.path.rstrip('/')}/{quote(name)}"
            if name and is_valid_path(address):
                answered["Location"] = address
        return answered

    def find(self, act: Act, **address: Any) -> Any:
        """Return the row that the act is about, by the `find_NOUN` of what it takes."""
        return getattr(self, f"find_{act.takes}")(**address)

    def arguments(self, _act: Act, _row: Any, body: type[BaseSerializer[Any]] | None) -> dict[str, Any]:
        """Return what the use case of an act takes from the request."""
        return self.given(body) if body else {}

    def respond(self, answer: type[BaseSerializer[Any]], result: Any, code: int) -> Response:
        return Response(answer(result).data, status=code)


def act_view(
    base: type[AccessView],
    act: Act,
    *,
    answer: type[BaseSerializer[Any]] | OpenApiResponse,
    body: type[BaseSerializer[Any]] | None = None,
    code: int = status.HTTP_200_OK,
) -> type[AccessView]:
    """Return the view of an act on a row that `base` finds; an OpenApiResponse is an empty answer."""

    class View(base):  # type: ignore[valid-type, misc]  # a class of the caller's choice
        serializer_class = base.serializer_class if isinstance(answer, OpenApiResponse) else answer
        pagination_class = None
        needs_approval = frozenset({"POST"} if act.needs_approval else ())

        @extend_schema(
            summary=act.summary,
            description=act.about or None,
            request=body,
            responses={code: answer},
            parameters=[*base.conditions] if act.conditional else None,
        )
        def post(self, request: Request, **address: Any) -> Response:
            row = self.find(act, **address)
            result = act.perform(actor=self.actor, row=row, **self.arguments(act, row, body))
            if isinstance(answer, OpenApiResponse):
                return Response(status=code)
            response: Response = self.respond(answer, result, code)
            return response

    return View
