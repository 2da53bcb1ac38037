"""The API of targets, and of an environment's secrets at all of them: thin over the use cases."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.environments import NO_CONTENT
from environments_app.errors import InvalidField
from secrets_app.models import Secret
from sync_app.api import target_serializers as documents
from sync_app.api.base import ACCEPTED, SyncView, act_view, filter_choice, filter_parameter, respond_accepted
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Deletion, Direction
from sync_app.models import Plan, Run, SyncEntry, Target
from sync_app.models.plan import PlanKind
from sync_app.planning.service import request_confirmation, request_plan
from sync_app.runs.runner import request_sync
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


TestView = act_view(
    "target",
    connection_check.test,
    summary="Test a target",
    about="Ask the other system what the credentials may do, and change nothing there.",
    answer=documents.ReportDocument,
)


PauseView = act_view(
    "target",
    targets.pause,
    summary="Pause a target",
    about="Let nothing be synced until the target is resumed.",
    answer=documents.TargetDocument,
)


ResumeView = act_view(
    "target",
    targets.resume,
    summary="Resume a target",
    about="Let a paused target be synced again.",
    answer=documents.TargetDocument,
)


CredentialsView = act_view(
    "target",
    targets.change_credentials,
    summary="Replace credentials",
    about="Replace the credentials, perhaps with an address of the same system; they are never answered.",
    answer=documents.TargetDocument,
    body=documents.NewCredentials,
)


SystemView = act_view(
    "target",
    request_confirmation,
    summary="Confirm a rebuilt system",
    about="Have the target be in the system that answers, if it is this one; automatic goes off; plan.",
    answer=documents.RunDocument,
    body=documents.SystemConfirmation,
    code=status.HTTP_202_ACCEPTED,
)


class WorkView(SyncView):
    serializer_class = documents.RunDocument
    pagination_class = None
    kind: ClassVar[PlanKind] = PlanKind.SYNC

    def request_work(self, environment: str, id: int, options: dict[str, Any]) -> Response:
        target = self.find_target(environment, id)
        return respond_accepted(
            request_plan(actor=self.actor, target=target, kind=self.kind, options=options)
        )


class PlanRequestView(WorkView):
    @extend_schema(summary="Plan a sync", request=documents.PlanRequest, responses=ACCEPTED)
    def post(self, request: Request, environment: str, id: int) -> Response:
        """Queue the making of a plan, which changes nothing on either side."""
        return self.request_work(environment, id, self.given(documents.PlanRequest))


class AdoptView(WorkView):
    kind = PlanKind.ADOPT

    @extend_schema(summary="Plan an adoption", request=documents.AdoptionRequest, responses=ACCEPTED)
    def post(self, request: Request, environment: str, id: int) -> Response:
        """Queue a plan that takes over secrets which exist in the target."""
        return self.request_work(environment, id, self.given(documents.AdoptionRequest))


class DisconnectView(WorkView):
    kind = PlanKind.DISCONNECT

    @extend_schema(summary="Plan a disconnection", request=documents.LeavingRequest, responses=ACCEPTED)
    def post(self, request: Request, environment: str, id: int) -> Response:
        """Queue a plan that leaves, or withdraws, what the target wrote."""
        return self.request_work(environment, id, self.given(documents.LeavingRequest))


class SyncNowView(WorkView):
    @extend_schema(summary="Sync now", request=None, responses=ACCEPTED)
    def post(self, request: Request, environment: str, id: int) -> Response:
        """Queue a pass that plans and carries out what it planned."""
        return respond_accepted(request_sync(actor=self.actor, target=self.find_target(environment, id)))


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
