"""What the views of the sync's API share: finding what the address names, and answering."""

from collections.abc import Callable
from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from environments_app.api.environments import AccessView
from environments_app.api.fields import StrictSerializer
from environments_app.environments.service import find_environment
from environments_app.errors import InvalidField
from environments_app.models import Environment
from sync_app.api import target_serializers as documents
from sync_app.models import Plan, Rotation, RotationPolicy, Run, Target
from sync_app.rotation.lookup import find_policy, find_rotation
from sync_app.targets.lookup import find_plan, find_target


class SyncView(AccessView):
    def find_environment(self, environment: str) -> Environment:
        return find_environment(actor=self.actor, name=environment)

    def find_target(self, environment: str, id: int) -> Target:
        return find_target(actor=self.actor, environment=self.find_environment(environment), id=id)

    def find_plan(self, environment: str, id: int) -> Plan:
        return find_plan(actor=self.actor, environment=self.find_environment(environment), id=id)

    def find_policy(self, environment: str, id: int) -> RotationPolicy:
        return find_policy(actor=self.actor, environment=self.find_environment(environment), id=id)

    def find_rotation(self, environment: str, id: int) -> Rotation:
        return find_rotation(actor=self.actor, environment=self.find_environment(environment), id=id)

    def respond_page(self, rows: QuerySet[Any], document: type[BaseSerializer[Any]]) -> Response:
        return self.get_paginated_response(document(self.page(rows), many=True).data)


def act_view(
    noun: str,
    use_case: Callable[..., Any],
    *,
    summary: str,
    about: str,
    answer: type[BaseSerializer[Any]],
    body: type[StrictSerializer] | None = None,
    code: int = status.HTTP_200_OK,
) -> type[SyncView]:
    """Return the view of one act on a row that `SyncView` finds: a target, plan, policy or rotation.

    `use_case` takes the row by that noun, and the fields of the body. `about` describes the act in OpenAPI.
    """

    class View(SyncView):
        serializer_class = answer
        pagination_class = None

        @extend_schema(summary=summary, description=about, request=body, responses={code: answer})
        def post(self, request: Request, environment: str, id: int) -> Response:
            row = getattr(self, f"find_{noun}")(environment, id)
            given = self.given(body) if body else {}
            return Response(answer(use_case(actor=self.actor, **{noun: row}, **given)).data, status=code)

    return View


def filter_choice(request: Request, rows: QuerySet[Any], name: str, choices: type) -> QuerySet[Any]:
    """Keep the rows whose field is what the query asks for. Raises InvalidField."""
    text = request.query_params.get(name, "")
    allowed: list[str] = [str(choice) for choice in choices]  # type: ignore[attr-defined]  # an enum or choices
    if text and text not in allowed:
        raise InvalidField(name, f"Choose one of {', '.join(allowed)}.")
    return rows.filter(**{name: text}) if text else rows


def filter_parameter(name: str, choices: type) -> OpenApiParameter:
    """Describe such a filter in OpenAPI."""
    return OpenApiParameter(name, str, enum=[str(choice) for choice in choices])  # type: ignore[attr-defined]  # an enum or choices


def respond_accepted(run: Run) -> Response:
    """Answer that work was queued, with the run that does it."""
    return Response(documents.RunDocument(run).data, status=status.HTTP_202_ACCEPTED)


ACCEPTED: Final = {202: documents.RunDocument}
