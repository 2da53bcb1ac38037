"""The API of consents: where an environment's values may be filled in to what others deliver."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.api.base import NO_CONTENT
from environments_app.api.fields import StrictSerializer, Text
from environments_app.authorization.policy import require
from environments_app.names import MAX_PREFIX
from sync_app.api.base import SyncView
from sync_app.models import ReferenceConsent
from sync_app.targets import consents


class ConsentDocument(serializers.ModelSerializer[ReferenceConsent]):
    """A consent as it is answered."""

    target = serializers.SerializerMethodField(help_text="As environment/target.")

    class Meta:
        model = ReferenceConsent
        fields = ["id", "uuid", "target", "prefix", "given_by", "created_at"]
        read_only_fields = fields

    def get_target(self, consent: ReferenceConsent) -> str:
        return f"{consent.target.environment.name}/{consent.target.name}"


class NewConsent(StrictSerializer):
    """What a consent is made from."""

    target = Text(max_length=127, help_text="As environment/target.")
    prefix = Text(required=False, max_length=MAX_PREFIX, help_text="Only names under it.")


class ConsentListView(SyncView):
    queryset = ReferenceConsent.objects.none()
    serializer_class = ConsentDocument

    @extend_schema(summary="List consents", responses=ConsentDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        """List the targets of other environments that may receive values of this one by reference."""
        place = self.find_environment(environment)
        require(actor=self.actor, action=Action.CONSENT_VIEW, environment=place)
        rows = ReferenceConsent.objects.filter(environment=place).select_related("target__environment")
        return self.respond_page(rows, ConsentDocument)

    @extend_schema(summary="Consent to a target", request=NewConsent, responses={201: ConsentDocument})
    def post(self, request: Request, environment: str) -> Response:
        """Let references take values of this environment to a target of another that the actor may see."""
        place = self.find_environment(environment)
        require(actor=self.actor, action=Action.CONSENT_GIVE, environment=place)
        given = self.given(NewConsent)
        made = consents.give_consent(
            actor=self.actor,
            environment=place,
            target=consents.find_destination(actor=self.actor, text=given["target"]),
            prefix=given.get("prefix", ""),
        )
        return Response(ConsentDocument(made).data, status=status.HTTP_201_CREATED)


class ConsentView(SyncView):
    queryset = ReferenceConsent.objects.none()
    serializer_class = ConsentDocument

    @extend_schema(summary="Withdraw a consent", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """Take a consent back, also one that is not genuine; what was delivered stays there."""
        place = self.find_environment(environment)
        found = consents.find_consent(actor=self.actor, environment=place, id=id)
        consents.withdraw_consent(actor=self.actor, consent=found)
        return Response(status=status.HTTP_204_NO_CONTENT)
