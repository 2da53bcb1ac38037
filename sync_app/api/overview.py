"""The API of the overview: an environment's secrets at all its targets."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.errors import InvalidField
from secrets_app.models import Secret
from sync_app.api.base import SyncView, filter_parameter
from sync_app.domain.delivery_state import DeliveryState
from sync_app.targets.overview import overview_rows, overview_secrets, overview_targets


class TargetDeliveryDocument(serializers.Serializer[Any]):
    """The state of a secret at one target. A new secret is `pending` before the first look at the target."""

    target = serializers.IntegerField(source="target.pk", read_only=True)
    name = serializers.CharField(source="target.name", read_only=True)
    state = serializers.CharField(read_only=True)
    reason = serializers.CharField(source="entry.reason", read_only=True, default="")
    base_number = serializers.IntegerField(
        source="entry.base_number", read_only=True, allow_null=True, default=None
    )
    synced_at = serializers.DateTimeField(
        source="entry.synced_at", read_only=True, allow_null=True, default=None
    )


class DeliveryDocument(serializers.Serializer[Any]):
    """One secret with its state at each target whose scope covers it."""

    id = serializers.IntegerField(source="secret.pk", read_only=True)
    secret = serializers.CharField(source="secret.name", read_only=True)
    number = serializers.IntegerField(source="secret.current_number", read_only=True)
    targets = TargetDeliveryDocument(source="covered", many=True, read_only=True)


class DeliveryListView(SyncView):
    """The secrets of an environment at its targets."""

    queryset = Secret.objects.none()
    serializer_class = DeliveryDocument
    ordering_fields = {"name": "name"}
    default_ordering = "name"
    filter_names = ("state",)

    @extend_schema(
        summary="List secrets at all targets",
        parameters=[filter_parameter("state", DeliveryState)],
        responses=DeliveryDocument(many=True),
    )
    def get(self, request: Request, environment: str) -> Response:
        """List the secrets that the actor may see, with their state at each target that the actor may see."""
        place, state = self.find_environment(environment), request.query_params.get("state", "")
        if state and state not in set(DeliveryState):
            raise InvalidField("state", f"Choose one of {', '.join(DeliveryState)}.")
        targets = overview_targets(self.actor, place)
        page = self.page(overview_secrets(self.actor, place, targets, state=state))
        rows = overview_rows(page, targets)
        return self.get_paginated_response(DeliveryDocument(rows, many=True).data)
