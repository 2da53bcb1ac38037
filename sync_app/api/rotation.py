"""The API of rotation: thin over the use cases."""

from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.api.base import NO_CONTENT, act_view
from secrets_app.queries.lookup import find_secret, find_secret_by_name, require_on
from sync_app import acts
from sync_app.api import rotation_serializers as documents
from sync_app.api.base import SyncView, filter_choice, filter_parameter
from sync_app.domain.rotation_state import Step
from sync_app.models import Acknowledgement, Rotation, RotationPolicy
from sync_app.rotation.execution import consumers
from sync_app.rotation.lookup import visible_policies
from sync_app.rotation.policies import service as policies


class PolicyListView(SyncView):
    queryset = RotationPolicy.objects.none()
    serializer_class = documents.PolicyDocument
    ordering_fields: ClassVar[dict[str, str]] = {"id": "id", "due_at": "due_at"}
    default_ordering = "id"

    @extend_schema(summary="List rotation policies", responses=documents.PolicyDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        """List the policies of the secrets that the actor may see."""
        rows = visible_policies(self.actor).filter(environment=self.find_environment(environment))
        return self.respond_page(rows, documents.PolicyDocument)

    @extend_schema(
        summary="Put a secret under rotation",
        request=documents.NewPolicy,
        responses={201: documents.NewPolicyDocument},
    )
    def post(self, request: Request, environment: str) -> Response:
        """Create a policy, once the secret's present value was seen to log in; nothing is changed yet."""
        place = self.find_environment(environment)
        given = self.given(documents.NewPolicy)
        secret = find_secret_by_name(actor=self.actor, environment=place, name=given.pop("secret"))
        made = policies.create(actor=self.actor, secret=secret, **given)
        return Response(documents.NewPolicyDocument(made).data, status=status.HTTP_201_CREATED)


class PolicyView(SyncView):
    queryset = RotationPolicy.objects.none()
    serializer_class = documents.PolicyDocument

    @extend_schema(summary="Read a rotation policy", responses=documents.PolicyDocument)
    def get(self, request: Request, environment: str, id: int) -> Response:
        """Return a policy without its credential."""
        return Response(documents.PolicyDocument(self.find_policy(environment, id)).data)

    @extend_schema(
        summary="Change a rotation policy",
        request=documents.RotationRules,
        responses=documents.PolicyDocument,
    )
    def patch(self, request: Request, environment: str, id: int) -> Response:
        """Change cadence, window, grace; what is left out is kept."""
        policy = self.find_policy(environment, id)
        changed = policies.change(actor=self.actor, policy=policy, **self.given(documents.RotationRules))
        return Response(documents.PolicyDocument(changed).data)

    @extend_schema(summary="Remove a rotation policy", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """Remove a policy that has no rotation at work; the secret's value can be written again."""
        policies.remove(actor=self.actor, policy=self.find_policy(environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)


_FORMS: Final[dict[str, dict[str, Any]]] = {
    "credentials": {"body": documents.NewConnection},
    "dry_run": {"answer": documents.DryRunReport},
    "logins": {"answer": documents.LoginComparisonDocument},
    "align": {"answer": documents.LoginComparisonDocument, "body": documents.AlignRequest},
    "rotate": {
        "answer": documents.RotationDocument,
        "body": documents.RotationRequest,
        "code": status.HTTP_202_ACCEPTED,
    },
}
POLICY_ACT_VIEWS: Final = {
    act.slug: act_view(SyncView, act, **{"answer": documents.PolicyDocument, **_FORMS.get(act.name, {})})
    for act in acts.POLICIES
    if act.summary
}


class RotationListView(SyncView):
    queryset = Rotation.objects.none()
    serializer_class = documents.RotationDocument
    ordering_fields: ClassVar[dict[str, str]] = {"id": "id"}
    default_ordering = "-id"
    filter_names = ("step",)

    @extend_schema(
        summary="List rotations",
        parameters=[filter_parameter("step", Step)],
        responses=documents.RotationDocument(many=True),
    )
    def get(self, request: Request, environment: str, id: int) -> Response:
        """List rotations under a policy, perhaps at one step, the newest first."""
        rows = Rotation.objects.filter(policy=self.find_policy(environment, id)).select_related(
            "policy__secret"
        )
        rows = rows.defer("policy__credentials")
        return self.respond_page(filter_choice(request, rows, "step", Step), documents.RotationDocument)


class OneRotationView(SyncView):
    queryset = Rotation.objects.none()
    serializer_class = documents.RotationDocument

    @extend_schema(summary="Read a rotation", responses=documents.RotationDocument)
    def get(self, request: Request, environment: str, id: int) -> Response:
        """Return a rotation and what may be done about it."""
        return Response(documents.RotationDocument(self.find_rotation(environment, id)).data)


ROTATION_ACT_VIEWS: Final = {
    act.slug: act_view(SyncView, act, answer=documents.RotationDocument) for act in acts.ROTATIONS
}
_INSTANCE: Final = OpenApiParameter("instance", str, description="Which of several that share a token.")


class AcknowledgeView(SyncView):
    queryset = Acknowledgement.objects.none()
    serializer_class = documents.AcknowledgementDocument
    ordering_fields: ClassVar[dict[str, str]] = {"id": "id"}
    default_ordering = "id"

    @extend_schema(summary="List confirmed versions", responses=documents.AcknowledgementDocument(many=True))
    def get(self, request: Request, id: int) -> Response:
        """List which version each consumer confirmed last."""
        secret = find_secret(actor=self.actor, id=id)
        require_on(actor=self.actor, action=Action.ROTATION_VIEW, secret=secret)
        rows = Acknowledgement.objects.filter(secret=secret)
        return self.respond_page(rows, documents.AcknowledgementDocument)

    @extend_schema(
        summary="Confirm a version",
        request=documents.AcknowledgementRequest,
        responses=documents.AcknowledgementDocument,
    )
    def post(self, request: Request, id: int) -> Response:
        """Confirm the version that the caller uses, so retiring can wait for the slowest consumer."""
        secret = find_secret(actor=self.actor, id=id)
        given = self.given(documents.AcknowledgementRequest)
        said = consumers.acknowledge(
            actor=self.actor, secret=secret, number=given["version"], instance=given.get("instance", "")
        )
        return Response(documents.AcknowledgementDocument(said).data)

    @extend_schema(
        summary="Take back what one confirmed", parameters=[_INSTANCE], responses={204: NO_CONTENT}
    )
    def delete(self, request: Request, id: int) -> Response:
        """Remove a consumer, or an instance of it: retiring no longer waits for it."""
        secret = find_secret(actor=self.actor, id=id)
        instance = request.query_params.get("instance", "")
        consumers.remove_acknowledgement(actor=self.actor, secret=secret, instance=instance)
        return Response(status=status.HTTP_204_NO_CONTENT)
