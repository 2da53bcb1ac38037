"""The API of recipients: who gets e-mail about an environment."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app import acts
from environments_app.api.base import NO_CONTENT, AccessView, act_view
from environments_app.api.fields import StrictSerializer, Text
from environments_app.authorization.policy import require
from environments_app.environments import service as environments
from environments_app.models import Addressee, Recipient
from environments_app.notifications import recipients
from environments_app.notifications.recipients import find_addressee, remove_addressee

QUEUED = OpenApiResponse(description="Queued; it is sent within a minute.")


class RecipientDocument(serializers.ModelSerializer[Recipient]):
    class Meta:
        model = Recipient
        fields = ["id", "uuid", "email", "created_by", "created_at"]
        read_only_fields = fields


class NewRecipient(StrictSerializer):
    email = Text(max_length=254)


class RecipientListView(AccessView):
    queryset = Recipient.objects.none()
    serializer_class = RecipientDocument

    @extend_schema(summary="List who is notified by e-mail", responses=RecipientDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        place = environments.find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.NOTIFICATION_VIEW, environment=place)
        rows = self.page(Recipient.objects.filter(environment=place))
        return self.get_paginated_response(RecipientDocument(rows, many=True).data)

    @extend_schema(
        summary="Add an e-mail recipient", request=NewRecipient, responses={201: RecipientDocument}
    )
    def post(self, request: Request, environment: str) -> Response:
        place = environments.find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.NOTIFICATION_CREATE, environment=place)
        recipient = recipients.add_recipient(actor=self.actor, environment=place, **self.given(NewRecipient))
        return Response(RecipientDocument(recipient).data, status=status.HTTP_201_CREATED)


class AddresseeView(AccessView):
    model: ClassVar[type[Addressee]] = Recipient
    queryset: QuerySet[Any] = Recipient.objects.none()
    serializer_class: type[serializers.ModelSerializer[Any]] = RecipientDocument

    def find_addressee(self, environment: str, id: int) -> Addressee:
        """Return what the address names. Raises Invisible or Forbidden."""
        place = environments.find_environment(actor=self.actor, name=environment)
        return find_addressee(actor=self.actor, model=self.model, environment=place, id=id)


class RecipientView(AddresseeView):
    @extend_schema(summary="Remove an e-mail recipient", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """Remove a recipient, also one that is not genuine."""
        remove_addressee(actor=self.actor, addressee=self.find_addressee(environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)


RecipientTestView = act_view(AddresseeView, acts.TEST_MESSAGE, answer=QUEUED, code=status.HTTP_202_ACCEPTED)
