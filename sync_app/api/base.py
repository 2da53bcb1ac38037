"""What the views of the sync's API share: finding what the address names, and answering."""

from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from environments_app.api.base import AccessView
from environments_app.environments.service import find_environment
from environments_app.errors import InvalidField
from environments_app.models import Environment
from sync_app.api import target_serializers as documents
from sync_app.models import Plan, PlanItem, Rotation, RotationPolicy, Target
from sync_app.rotation.lookup import find_policy, find_rotation
from sync_app.targets.lookup import find_item, find_plan, find_target


class SyncView(AccessView):
    asks_systems = True

    def find_environment(self, environment: str) -> Environment:
        return find_environment(actor=self.actor, name=environment)

    def find_target(self, environment: str, id: int) -> Target:
        return find_target(actor=self.actor, environment=self.find_environment(environment), id=id)

    def find_plan(self, environment: str, id: int) -> Plan:
        return find_plan(actor=self.actor, environment=self.find_environment(environment), id=id)

    def find_item(self, environment: str, id: int, item: int) -> PlanItem:
        return find_item(plan=self.find_plan(environment, id), id=item)

    def find_policy(self, environment: str, id: int) -> RotationPolicy:
        return find_policy(actor=self.actor, environment=self.find_environment(environment), id=id)

    def find_rotation(self, environment: str, id: int) -> Rotation:
        return find_rotation(actor=self.actor, environment=self.find_environment(environment), id=id)

    def respond_page(self, rows: QuerySet[Any], document: type[BaseSerializer[Any]]) -> Response:
        return self.get_paginated_response(document(self.page(rows), many=True).data)


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


# The answer of what queues work: the run that does it.
QUEUED: Final[dict[str, Any]] = {"answer": documents.RunDocument, "code": status.HTTP_202_ACCEPTED}
