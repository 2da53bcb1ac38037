"""The API of offboarding: what a user knows, and the act."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.base import AccessView
from environments_app.models import User
from secrets_app.departures.ending import offboard
from secrets_app.exposure import find_person, offboarding_report


class ReadableSecret(serializers.Serializer[Any]):
    """A secret that the person could read."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    environment = serializers.CharField(source="environment.name", read_only=True)


class KnownSecret(serializers.Serializer[Any]):
    """A secret of which the person has read or written versions; `stands`: one of them is still served."""

    id = serializers.IntegerField(source="secret.pk", read_only=True)
    name = serializers.CharField(source="secret.name", read_only=True)
    environment = serializers.CharField(source="secret.environment.name", read_only=True)
    versions = serializers.ListField(source="numbers", child=serializers.IntegerField(), read_only=True)
    stands = serializers.BooleanField(read_only=True)
    rotation_due_at = serializers.DateTimeField(
        source="secret.rotation_due_at", read_only=True, allow_null=True
    )


class HeldToken(serializers.Serializer[Any]):
    """A service token whose text the person has seen, or a trust that they made or changed."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    environment = serializers.CharField(
        source="environment.name", read_only=True, default=None, allow_null=True
    )
    role = serializers.CharField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True, allow_null=True)


class OutletDocument(serializers.Serializer[Any]):
    """What lets values, names or events out of Keeper, or workloads in, as a person chose."""

    uuid = serializers.UUIDField(read_only=True)
    kind = serializers.CharField(read_only=True, help_text="Such as `Sync target` or `Event sink`.")
    name = serializers.CharField(read_only=True)
    environment = serializers.CharField(
        source="environment.name",
        read_only=True,
        default=None,
        allow_null=True,
        help_text="Null: of the installation.",
    )
    made_by = serializers.CharField(read_only=True, help_text="Who set it up.")
    chosen_by = serializers.CharField(
        read_only=True,
        help_text="Who gave it its address or credentials last.",
    )
    link = serializers.CharField(read_only=True, help_text="Its page, where it is ended or paused.")
    paused = serializers.BooleanField(source="is_paused", read_only=True)


class DossierDocument(serializers.Serializer[Any]):
    """The offboarding report of a user."""

    user = serializers.CharField(source="user.username", read_only=True)
    is_active = serializers.BooleanField(source="user.is_active", read_only=True)
    disabled_at = serializers.DateTimeField(
        source="disabled.at", default=None, allow_null=True, read_only=True, help_text="Null: it is enabled."
    )
    disabled_by = serializers.CharField(source="disabled.by", default="", read_only=True)
    could_read = ReadableSecret(many=True, read_only=True)
    known = KnownSecret(many=True, read_only=True)
    tokens = HeldToken(many=True, read_only=True)
    trusts = HeldToken(many=True, read_only=True)
    outlets = OutletDocument(many=True, read_only=True)
    accounts = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Active accounts of others that the person made or reset, and could sign in as.",
    )


class OffboardedDocument(serializers.Serializer[Any]):
    """What was done."""

    marked = serializers.IntegerField(read_only=True, help_text="Secrets marked as due.")
    queued = serializers.IntegerField(read_only=True, help_text="Policies that rotate by themselves now.")


class OffboardingView(AccessView):
    queryset = User.objects.none()
    serializer_class = DossierDocument
    pagination_class = None

    @extend_schema(summary="What somebody who leaves knows", responses=DossierDocument)
    def get(self, request: Request, username: str) -> Response:
        """Return what a person could read, did read or write, holds (tokens, accounts) and set up."""
        user = find_person(actor=self.actor, username=username)
        return Response(DossierDocument(offboarding_report(actor=self.actor, user=user)).data)

    @extend_schema(summary="Offboard somebody", request=None, responses=OffboardedDocument)
    def post(self, request: Request, username: str) -> Response:
        """Disable the account and queue what the person knows for rotation."""
        done = offboard(actor=self.actor, user=find_person(actor=self.actor, username=username))
        return Response(OffboardedDocument(done).data)
