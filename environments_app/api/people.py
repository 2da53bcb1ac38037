"""The API of people: an account is handed over to a SCIM client."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.base import AccessView
from environments_app.api.fields import StrictSerializer, Text
from environments_app.errors import InvalidField, Invisible
from environments_app.models import ProvisionedUser, ScimClient, User
from environments_app.users.handing_over import hand_over, require_may_hand_over
from environments_app.users.password_backend import named_user


class HandOverBody(StrictSerializer):
    client = Text(max_length=60, help_text="Name of the SCIM client.")
    external_id = Text(max_length=255, help_text="The provider's permanent name of the person, exactly.")
    user_name = Text(max_length=255, help_text="The person's userName at the provider.")


class ProvisionedDocument(serializers.ModelSerializer[ProvisionedUser]):
    """An account that a SCIM client manages."""

    username = serializers.CharField(source="user.username", read_only=True)
    client = serializers.CharField(source="client.name", read_only=True)
    suspended = serializers.SerializerMethodField(help_text="Whether managers must confirm the account.")

    class Meta:
        model = ProvisionedUser
        fields = ["username", "client", "external_id", "user_name", "suspended"]
        read_only_fields = fields

    def get_suspended(self, row: ProvisionedUser) -> bool:
        return row.user.suspended_at is not None


class HandOverView(AccessView):
    queryset = User.objects.none()
    serializer_class = ProvisionedDocument
    pagination_class = None

    @extend_schema(
        summary="Hand an account over to a SCIM client", request=HandOverBody, responses=ProvisionedDocument
    )
    def post(self, request: Request, username: str) -> Response:
        """Let the client change and end the account. Sessions and personal tokens end now.

        An account without single sign-on shows names alone until managers confirm it.
        """
        require_may_hand_over(self.actor)
        user, given = named_user(username), self.given(HandOverBody)
        if user is None:
            raise Invisible("User not found.")
        client = ScimClient.objects.filter(name=given.pop("client"), removed_at=None).first()
        if client is None:
            raise InvalidField("client", "There is no SCIM client of this name.")
        return Response(
            ProvisionedDocument(hand_over(actor=self.actor, user=user, client=client, **given)).data
        )
