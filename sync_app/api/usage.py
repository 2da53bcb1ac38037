"""The API of a secret's use, and of what a rotation would break."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.api.base import AccessView
from environments_app.authorization.policy import require
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_secret, require_authentic
from secrets_app.services.usage import check, usage_report
from sync_app.rotation.impact import impact_of


class ReaderDocument(serializers.Serializer[Any]):
    """A person, token or trust: every way to the value that is open now, and the use."""

    kind = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)
    people = serializers.IntegerField(read_only=True, help_text="More than 1: people who never used it.")
    why = serializers.ListField(child=serializers.CharField(), read_only=True)
    hindrances = serializers.ListField(child=serializers.CharField(), read_only=True)
    versions = serializers.ListField(
        child=serializers.IntegerField(), source="sorted_numbers", read_only=True
    )
    reads = serializers.IntegerField(source="count", read_only=True)
    first_read_at = serializers.DateTimeField(source="first_at", read_only=True, allow_null=True)
    last_read_at = serializers.DateTimeField(source="last_at", read_only=True, allow_null=True)
    last_asked_at = serializers.DateTimeField(source="asked_at", read_only=True, allow_null=True)
    last_exported_at = serializers.DateTimeField(source="exported_at", read_only=True, allow_null=True)
    holds = serializers.IntegerField(read_only=True, allow_null=True)


class UsageDocument(serializers.Serializer[Any]):
    """Who may read a secret and who did; ghosts know a version that is served, and may not read any more."""

    everyone = serializers.BooleanField(
        source="sees_everyone", read_only=True, help_text="False: only the caller's own use is shown."
    )
    since = serializers.DateTimeField(read_only=True, allow_null=True)
    not_counted = serializers.IntegerField(source="behind", read_only=True)
    readers = ReaderDocument(many=True, read_only=True)
    ghosts = ReaderDocument(many=True, read_only=True)
    differences = serializers.ListField(
        child=serializers.CharField(), read_only=True, allow_null=True, default=None
    )


class ImpactLine(serializers.Serializer[Any]):
    """A copy or consumer, and the evidence."""

    what = serializers.CharField(read_only=True)
    why = serializers.CharField(read_only=True)


class ImpactDocument(serializers.Serializer[Any]):
    """What is known to happen if the secret is rotated now; nothing is opened or contacted for it."""

    headline = serializers.CharField(read_only=True)
    overlap = serializers.CharField(read_only=True)
    breaks = ImpactLine(many=True, read_only=True)
    follows = ImpactLine(many=True, read_only=True)
    waits = ImpactLine(many=True, read_only=True)
    reasons = ImpactLine(many=True, read_only=True)
    copies = ImpactLine(many=True, read_only=True)


class UsageView(AccessView):
    queryset = Secret.objects.none()
    serializer_class = UsageDocument
    pagination_class = None
    filter_names: ClassVar[tuple[str, ...]] = ("check",)

    @extend_schema(
        summary="Show who uses a secret",
        parameters=[
            OpenApiParameter(
                "check", bool, description="Count its events again, and return what differs from the counts."
            )
        ],
        responses=UsageDocument,
    )
    def get(self, request: Request, id: int) -> Response:
        """Return who may read a secret and why, and who did, or the caller's own use alone."""
        secret = find_secret(actor=self.actor, id=id, deleted=None)
        require_authentic(secret)
        report = usage_report(actor=self.actor, secret=secret)
        is_checked = report.sees_everyone and request.query_params.get("check") in {"1", "true"}
        document = UsageDocument(report).data
        return Response({**document, "differences": check(secret) if is_checked else None})


class ImpactView(AccessView):
    queryset = Secret.objects.none()
    serializer_class = ImpactDocument
    pagination_class = None

    @extend_schema(summary="Show what a rotation breaks", responses=ImpactDocument)
    def get(self, request: Request, id: int) -> Response:
        """Return which consumers would keep the old value of a secret, which follow, and all known copies."""
        secret = find_secret(actor=self.actor, id=id, deleted=None)
        require_authentic(secret)
        for right in (Action.MEMBER_VIEW, Action.TRAIL_VIEW):
            require(actor=self.actor, action=right, environment=secret.environment)
        report = usage_report(actor=self.actor, secret=secret)
        return Response(ImpactDocument(impact_of(actor=self.actor, secret=secret, report=report)).data)
