"""The API of plans: thin over the use cases."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from sync_app.api import target_serializers as documents
from sync_app.api.base import ACCEPTED, SyncView, filter_choice, filter_parameter, respond_accepted
from sync_app.applying import service as applying
from sync_app.models import Plan, PlanItem
from sync_app.models.plan import Act
from sync_app.planning.field_diff import member_changes
from sync_app.targets.lookup import find_item


class PlanView(SyncView):
    queryset = Plan.objects.none()
    serializer_class = documents.PlanDocument

    @extend_schema(summary="Read a plan", responses=documents.PlanDocument)
    def get(self, request: Request, environment: str, id: int) -> Response:
        """Return a plan with its counts."""
        return Response(documents.PlanDocument(self.find_plan(environment, id)).data)


class ItemListView(SyncView):
    queryset = PlanItem.objects.none()
    serializer_class = documents.ItemDocument
    ordering_fields = {"name": "name"}
    default_ordering = "name"
    filter_names = ("act",)

    @extend_schema(
        summary="List the items of a plan",
        parameters=[filter_parameter("act", Act)],
        responses=documents.ItemDocument(many=True),
    )
    def get(self, request: Request, environment: str, id: int) -> Response:
        """List what a plan does, perhaps of one act; what is unchanged is only counted."""
        rows = PlanItem.objects.filter(plan=self.find_plan(environment, id))
        return self.respond_page(filter_choice(request, rows, "act", Act), documents.ItemDocument)


class ApplyView(SyncView):
    serializer_class = documents.RunDocument
    pagination_class = None

    @extend_schema(summary="Apply a plan", request=None, responses=ACCEPTED)
    def post(self, request: Request, environment: str, id: int) -> Response:
        """Queue the carrying out of a plan; each item is checked again before it is touched."""
        return respond_accepted(
            applying.request_apply(actor=self.actor, plan=self.find_plan(environment, id))
        )


class MembersView(SyncView):
    serializer_class = documents.MemberChangeDocument
    pagination_class = None

    @extend_schema(
        summary="Tell which members an update touches",
        request=None,
        responses=documents.MemberChangeDocument(many=True),
    )
    def post(self, request: Request, environment: str, id: int, item: int) -> Response:
        """Return names without values, for an update that is still planned.

        Two versions are opened for it, Keeper's last synced one and the one that would be written,
        and each is recorded as revealed. Nothing is read in the target.
        """
        found = find_item(plan=self.find_plan(environment, id), id=item)
        parts = member_changes(actor=self.actor, item=found)
        return Response(documents.MemberChangeDocument(parts, many=True).data)


class ResolveView(SyncView):
    serializer_class = documents.RunDocument
    pagination_class = None

    @extend_schema(summary="Resolve a conflict", request=documents.ChoiceRequest, responses=ACCEPTED)
    def post(self, request: Request, environment: str, id: int, item: int) -> Response:
        """Queue what a person chose; it holds if both sides are still as the plan showed them."""
        found = find_item(plan=self.find_plan(environment, id), id=item)
        choice = self.given(documents.ChoiceRequest)["choice"]
        return respond_accepted(applying.request_resolution(actor=self.actor, item=found, choice=choice))
