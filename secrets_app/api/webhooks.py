"""The API of webhooks: notifications of an environment over HTTP."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.api.base import NO_CONTENT, AccessView, act_view
from environments_app.api.fields import StrictSerializer, Text
from environments_app.api.recipients import QUEUED, AddresseeView
from environments_app.authorization.policy import require
from environments_app.environments.service import find_environment
from environments_app.notifications.recipients import remove_addressee
from secrets_app import acts, webhooks
from secrets_app.models import Webhook, WebhookStyle


class WebhookDocument(serializers.ModelSerializer[Webhook]):
    """A webhook as it is answered; its address is shown to its host only."""

    class Meta:
        model = Webhook
        fields = ["id", "uuid", "name", "endpoint", "style", "created_by", "created_at"]
        read_only_fields = fields


class NewWebhook(StrictSerializer):
    """What a webhook is made from."""

    name = Text(max_length=webhooks.MAX_NAME)
    url = Text(max_length=webhooks.MAX_URL, help_text="Sealed, and never shown again.")
    style = serializers.ChoiceField(  # type: ignore[assignment]  # a serializer's own "style" is not used
        choices=[(style.value, style.value) for style in WebhookStyle], default=WebhookStyle.SLACK
    )


class IssuedWebhook(WebhookDocument):
    """A new webhook with the key that signs; this answer alone holds it."""

    key = serializers.CharField(read_only=True)

    class Meta(WebhookDocument.Meta):
        fields = [*WebhookDocument.Meta.fields, "key"]
        read_only_fields = fields


class WebhookListView(AccessView):
    queryset = Webhook.objects.none()
    serializer_class = WebhookDocument

    @extend_schema(summary="List webhooks", responses=WebhookDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        """List the webhooks of an environment."""
        place = find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.NOTIFICATION_VIEW, environment=place)
        rows = self.page(Webhook.objects.filter(environment=place).defer("sealed"))
        return self.get_paginated_response(WebhookDocument(rows, many=True).data)

    @extend_schema(summary="Tell a webhook", request=NewWebhook, responses={201: IssuedWebhook})
    def post(self, request: Request, environment: str) -> Response:
        """Add a webhook to an environment; only this answer holds the signing key."""
        place = find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.NOTIFICATION_CREATE, environment=place)
        webhook, key = webhooks.add_webhook(actor=self.actor, environment=place, **self.given(NewWebhook))
        document = {**WebhookDocument(webhook).data, "key": key}
        return Response(document, status=status.HTTP_201_CREATED)


class WebhookActs(AddresseeView):
    """The base of what is done with one webhook."""

    model = Webhook
    queryset = Webhook.objects.none()
    serializer_class = WebhookDocument


class WebhookView(WebhookActs):
    @extend_schema(summary="Stop telling a webhook", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """Remove a webhook, also one that is not genuine."""
        remove_addressee(actor=self.actor, addressee=self.find_addressee(environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)


WebhookTestView = act_view(WebhookActs, acts.TEST_WEBHOOK, answer=QUEUED, code=status.HTTP_202_ACCEPTED)
