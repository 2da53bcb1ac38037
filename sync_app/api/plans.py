"""The API of plans: thin over the use cases."""

from typing import Final

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.base import act_view
from sync_app import acts
from sync_app.api import target_serializers as documents
from sync_app.api.base import QUEUED, SyncView, filter_choice, filter_parameter
from sync_app.models import Plan, PlanItem
from sync_app.models.plan import Act
from sync_app.planning.field_diff import member_changes


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
        parts = member_changes(actor=self.actor, item=self.find_item(environment, id, item))
        return Response(documents.MemberChangeDocument(parts, many=True).data)


ACT_VIEWS: Final = {act.slug: act_view(SyncView, act, **QUEUED) for act in acts.PLANS}
ITEM_ACT_VIEWS: Final = {
    act.slug: act_view(SyncView, act, body=documents.ChoiceRequest, **QUEUED) for act in acts.ITEMS
}
