"""The API of approvals: pending requests and decisions."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app import acts
from environments_app.api.base import AccessView, act_view
from environments_app.api.fields import StateField, StrictSerializer, Text, Truth, public_states, stored_state
from environments_app.approvals import applying, history
from environments_app.approvals import service as approvals
from environments_app.models import Approval, ApprovalEntry, ApprovalState

STATE = OpenApiParameter(
    "state", str, description="Only requests in this state.", enum=public_states(ApprovalState)
)


class LineDocument(serializers.Serializer[Any]):
    """One line of what would change; values are masked."""

    label = serializers.CharField()  # type: ignore[assignment]  # the field's name, not its label
    before = serializers.CharField()
    after = serializers.CharField()


class ApprovalDocument(serializers.ModelSerializer[Approval]):
    """A request as it is answered: never with a value."""

    environment = serializers.CharField(source="environment.name")
    object = serializers.CharField(source="object_name")
    state = StateField(ApprovalState, source="shown_state")
    summary = LineDocument(many=True)
    requester = serializers.CharField(source="requester_name")
    decided_by = serializers.CharField(source="decided_by_name")
    approvals_required = serializers.IntegerField(source="environment.approvals_needed")

    class Meta:
        model = Approval
        fields = [
            "id", "uuid", "environment", "action", "object_kind", "object", "state", "summary", "reason",
            "requester_kind", "requester", "approvals_required", "decided_by", "comment", "asked_at",
            "expires_at", "decided_at", "finished_at", "failure",
        ]  # fmt: skip
        read_only_fields = fields


class CommentDocument(serializers.ModelSerializer[ApprovalEntry]):
    """A comment on a request, or the approval of one of several people."""

    author = serializers.CharField(source="author_name")

    class Meta:
        model = ApprovalEntry
        fields = ["id", "kind", "author", "text", "at"]
        read_only_fields = fields


class NewComment(StrictSerializer):
    text = Text(max_length=history.MAX_TEXT)


class DecisionDocument(StrictSerializer):
    comment = Text(required=False, max_length=approvals.MAX_COMMENT)


class ReasonDocument(StrictSerializer):
    """Why it is requested, and whether the requester applies it after its approval."""

    reason = Text(required=False, max_length=approvals.MAX_COMMENT)
    held = Truth(required=False)


class DoneDocument(serializers.Serializer[Any]):
    """What became of an act that was carried out; a token or a guarded value is shown this once."""

    approval = ApprovalDocument()
    detail = serializers.CharField()
    link = serializers.CharField()
    token = serializers.CharField(required=False)
    value = serializers.CharField(required=False)


class ApprovalListView(AccessView):
    queryset = Approval.objects.none()
    serializer_class = ApprovalDocument
    filter_names: ClassVar[tuple[str, ...]] = ("state",)
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"

    @extend_schema(
        summary="List requests for approval", responses=ApprovalDocument(many=True), parameters=[STATE]
    )
    def get(self, request: Request) -> Response:
        """List requests, the newest first."""
        rows = approvals.visible_approvals(self.actor)
        state = request.query_params.get("state")
        if state is not None:
            rows = rows.filter(state=stored_state(ApprovalState, state))
        return self.get_paginated_response(ApprovalDocument(verified_rows(self.page(rows)), many=True).data)


class ApprovalActs(AccessView):
    queryset = Approval.objects.none()
    serializer_class = ApprovalDocument

    def find_approval(self, id: int) -> Approval:
        """Return the request that the address names. Raises Invisible."""
        return approvals.find_approval(actor=self.actor, id=id)


class ApprovalView(ApprovalActs):
    @extend_schema(summary="Read a request for approval", responses=ApprovalDocument)
    def get(self, request: Request, id: int) -> Response:
        """Return a request with what would change, masked."""
        return Response(ApprovalDocument(self.find_approval(id)).data)

    @extend_schema(summary="Give the reason of a request", request=ReasonDocument, responses=ApprovalDocument)
    def patch(self, request: Request, id: int) -> Response:
        """Set the reason of the actor's own undecided request."""
        approval = self.find_approval(id)
        explained = approvals.explain(actor=self.actor, approval=approval, **self.given(ReasonDocument))
        return Response(ApprovalDocument(explained).data)


class CommentListView(AccessView):
    queryset = ApprovalEntry.objects.none()
    serializer_class = CommentDocument

    @extend_schema(summary="List comments on a request", responses=CommentDocument(many=True))
    def get(self, request: Request, id: int) -> Response:
        """List them, the oldest first."""
        approval = approvals.find_approval(actor=self.actor, id=id)
        rows = self.page(history.entry_rows(approval))
        return self.get_paginated_response(CommentDocument(verified_rows(rows), many=True).data)

    @extend_schema(summary="Comment on a request", request=NewComment, responses={201: CommentDocument})
    def post(self, request: Request, id: int) -> Response:
        """Add a comment, which the requester and the approvers are notified of; people only, no tokens."""
        approval = approvals.find_approval(actor=self.actor, id=id)
        entry = history.comment(actor=self.actor, approval=approval, **self.given(NewComment))
        return Response(CommentDocument(entry).data, status=status.HTTP_201_CREATED)


class ApproveView(ApprovalActs):
    @extend_schema(summary="Approve", request=DecisionDocument, responses=ApprovalDocument)
    def post(self, request: Request, id: int) -> Response:
        """Approve the act and apply it as its requester, unless it is held."""
        approval = self.find_approval(id)
        applied = applying.approve_and_apply(
            actor=self.actor, approval=approval, **self.given(DecisionDocument)
        )
        return Response(ApprovalDocument(applied.approval).data)


_BODIES: Final = {"refuse": DecisionDocument}
ACT_VIEWS: Final = {
    act.slug: act_view(ApprovalActs, act, answer=ApprovalDocument, body=_BODIES.get(act.name))
    for act in acts.APPROVALS
    if act.summary
}


class CarryOutView(ApprovalActs):
    @extend_schema(summary="Carry out what was approved", request=None, responses=DoneDocument)
    def post(self, request: Request, id: int) -> Response:
        """Do what was approved, once, if it is still what would be done."""
        approval = self.find_approval(id)
        result = approvals.carry_out(actor=self.actor, approval=approval)
        document: dict[str, Any] = {
            "approval": ApprovalDocument(approval).data,
            "detail": result.sentence,
            "link": result.link,
        }
        name = "value" if approval.action == Action.SECRET_REVEAL else "token"
        return Response(document | ({name: result.plaintext} if result.plaintext else {}))
