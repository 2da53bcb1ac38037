"""The API of targets, and of an environment's secrets at all of them: thin over the use cases."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.base import NO_CONTENT, act_view
from environments_app.errors import InvalidField
from secrets_app.models import Secret
from sync_app import acts
from sync_app.api import target_serializers as documents
from sync_app.api.base import QUEUED, SyncView, filter_choice, filter_parameter
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Deletion, Direction
from sync_app.models import Plan, Run, SyncEntry, Target
from sync_app.targets import connection_check
from sync_app.targets import service as targets
from sync_app.targets.lookup import overview_rows, overview_secrets, overview_targets, visible_targets


class TargetListView(SyncView):
    queryset = Target.objects.none()
    serializer_class = documents.TargetDocument
    ordering_fields = {"name": "name", "created_at": "created_at"}
    default_ordering = "name"

    @extend_schema(summary="List targets", responses=documents.TargetDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        """List the targets that the actor may see, those that are not genuine as well."""
        rows = visible_targets(self.actor).filter(environment=self.find_environment(environment))
        return self.respond_page(rows, documents.TargetDocument)

    @extend_schema(
        summary="Create a target", request=documents.NewTarget, responses={201: documents.TargetDocument}
    )
    def post(self, request: Request, environment: str) -> Response:
        """Create a target, after asking the other system which one it is; nothing is written there."""
        place = self.find_environment(environment)
        made = targets.create(actor=self.actor, environment=place, **self.given(documents.NewTarget))
        return Response(documents.TargetDocument(made).data, status=status.HTTP_201_CREATED)


class DraftTestView(SyncView):
    serializer_class = documents.ReportDocument
    pagination_class = None

    @extend_schema(
        operation_id="environments_targets_test_draft",
        summary="Test a draft",
        request=documents.DraftTest,
        responses={200: documents.ReportDocument},
    )
    def post(self, request: Request, environment: str) -> Response:
        """Test destination and credentials, change nothing, and store nothing but that they were tested.

        The body that creates the target is accepted; `name`, `conflict`, `automatic` and other fields
        without relation to the connection have no effect.
        """
        place, given = self.find_environment(environment), self.given(documents.DraftTest)
        report = connection_check.test_draft(
            actor=self.actor,
            environment=place,
            backend=given["backend"],
            destination=given["destination"],
            credentials=given["credentials"],
            direction=given.get("direction", Direction.PUSH),
            deletion=given.get("deletion", Deletion.NEVER),
        )
        return Response(documents.ReportDocument(report).data)


class TargetView(SyncView):
    needs_approval = frozenset({"PATCH", "DELETE"})
    queryset = Target.objects.none()
    serializer_class = documents.TargetDocument

    @extend_schema(summary="Read a target", responses=documents.TargetDocument)
    def get(self, request: Request, environment: str, id: int) -> Response:
        """Return a target, without its credentials."""
        return Response(documents.TargetDocument(self.find_target(environment, id)).data)

    @extend_schema(
        summary="Change a target", request=documents.TargetChange, responses=documents.TargetDocument
    )
    def patch(self, request: Request, environment: str, id: int) -> Response:
        """Change name or rules; what is left out is kept. Of the destination only rules change."""
        target = self.find_target(environment, id)
        changed = targets.change(actor=self.actor, target=target, **self.given(documents.TargetChange))
        return Response(documents.TargetDocument(changed).data)

    @extend_schema(summary="Remove a target", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """Remove a target that has nothing of Keeper's in the other system: disconnect it first."""
        targets.remove(actor=self.actor, target=self.find_target(environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)


_FORMS: Final[dict[str, dict[str, Any]]] = {
    "test": {"answer": documents.ReportDocument},
    "credentials": {"body": documents.NewCredentials},
    "system": {"body": documents.SystemConfirmation, **QUEUED},
    "plan": {"body": documents.PlanRequest, **QUEUED},
    "sync": QUEUED,
    "adopt": {"body": documents.AdoptionRequest, **QUEUED},
    "disconnect": {"body": documents.LeavingRequest, **QUEUED},
}
ACT_VIEWS: Final = {
    act.slug: act_view(SyncView, act, **{"answer": documents.TargetDocument, **_FORMS.get(act.name, {})})
    for act in acts.TARGETS
    if act.summary
}


class EntryListView(SyncView):
    queryset = SyncEntry.objects.none()
    serializer_class = documents.EntryDocument
    ordering_fields = {"name": "name"}
    default_ordering = "name"
    filter_names = ("state",)

    @extend_schema(
        summary="List how secrets stand",
        parameters=[filter_parameter("state", DeliveryState)],
        responses=documents.EntryDocument(many=True),
    )
    def get(self, request: Request, environment: str, id: int) -> Response:
        """List the secrets that Keeper knows of at a target, perhaps of one state."""
        rows = SyncEntry.objects.filter(target=self.find_target(environment, id))
        return self.respond_page(
            filter_choice(request, rows, "state", DeliveryState), documents.EntryDocument
        )


class TargetPlanListView(SyncView):
    queryset = Plan.objects.none()
    serializer_class = documents.PlanDocument
    default_ordering = "-id"

    @extend_schema(summary="List plans", responses=documents.PlanDocument(many=True))
    def get(self, request: Request, environment: str, id: int) -> Response:
        """List the plans of a target, the newest first."""
        return self.respond_page(
            Plan.objects.filter(target=self.find_target(environment, id)), documents.PlanDocument
        )


class RunListView(SyncView):
    queryset = Run.objects.none()
    serializer_class = documents.RunDocument
    default_ordering = "-id"

    @extend_schema(summary="List runs", responses=documents.RunDocument(many=True))
    def get(self, request: Request, environment: str, id: int) -> Response:
        """List the runs of a target, the newest first."""
        return self.respond_page(
            Run.objects.filter(target=self.find_target(environment, id)), documents.RunDocument
        )


class TargetDeliveryDocument(serializers.Serializer[Any]):
    """The state of a secret at one target. A new secret is `pending` before the first look at the target."""

    target = serializers.IntegerField(source="target.pk", read_only=True)
    name = serializers.CharField(source="target.name", read_only=True)
    state = serializers.CharField(read_only=True)
    reason = serializers.CharField(read_only=True, default="")
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
