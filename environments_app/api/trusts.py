"""The API of trusts and of the sign-in of workloads, with its documents: thin over the use cases."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app import acts
from environments_app.api.base import NO_CONTENT, AccessView, act_view
from environments_app.api.fields import Moment, StrictSerializer, Text, Truth, WholeNumber, by_name
from environments_app.authentication.drf import address_of, plain_request, request_id_of
from environments_app.authorization.act import Act
from environments_app.authorization.policy import Principal, require
from environments_app.environments.service import find_environment
from environments_app.models import Trust, TrustAlgorithm, TrustPreset, TrustRole
from environments_app.names import MAX_PREFIX
from environments_app.trusts import service
from environments_app.trusts.definition import LIFETIME_MINUTES, MAX_AGE_MINUTES, MAX_PASTED, patterns_of
from environments_app.trusts.jwt.document import MAX_BYTES
from environments_app.trusts.sign_in import sign_in, try_token
from environments_app.trusts.upkeep import trust_status


class TrustDocument(serializers.ModelSerializer[Trust]):
    environment = by_name("name", allow_null=False)
    created_by = by_name("username")
    cidrs = serializers.ListField(source="networks", child=serializers.CharField(), read_only=True)
    claims = serializers.SerializerMethodField()
    enabled = serializers.SerializerMethodField()
    patterns = serializers.SerializerMethodField(help_text="Claims for which more than one value fits.")
    state = serializers.SerializerMethodField(
        help_text="active, unused, expiring, expired, suspended or disabled."
    )
    verified = serializers.BooleanField(
        source="is_authentic", read_only=True, help_text="False: modified outside Keeper, and lets nobody in."
    )

    class Meta:
        model = Trust
        fields = [
            "id", "uuid", "name", "environment", "preset", "issuer", "jwks_url", "jwks", "audience",
            "algorithm", "claims", "patterns", "role", "prefix", "cidrs", "lifetime_minutes",
            "max_age_minutes", "single_use", "allows_pull_request_target", "pinned", "expires_at", "enabled",
            "created_by", "created_at", "last_used_at", "last_refused_at", "last_refusal", "state",
            "verified",
        ]  # fmt: skip
        read_only_fields = fields

    def get_claims(self, trust: Trust) -> dict[str, str]:
        return dict(trust.demands)

    def get_enabled(self, trust: Trust) -> bool:
        return trust.disabled_at is None

    def get_patterns(self, trust: Trust) -> list[str]:
        return patterns_of(trust)

    def get_state(self, trust: Trust) -> str:
        return trust_status(trust)


class TrustChange(StrictSerializer):
    """What can be changed of a trust; what is left out is kept."""

    name = Text(max_length=100, required=False)
    issuer = Text(max_length=500, required=False)
    jwks_url = Text(max_length=500, required=False)
    jwks = Text(max_length=MAX_PASTED, required=False)
    audience = Text(max_length=500, required=False)
    algorithm = serializers.ChoiceField(choices=TrustAlgorithm.choices, required=False)
    claims = serializers.DictField(child=Text(max_length=1000), required=False)
    role = serializers.ChoiceField(choices=TrustRole.choices, required=False)
    prefix = Text(max_length=MAX_PREFIX, required=False)
    cidrs = serializers.ListField(child=Text(max_length=50), required=False, max_length=50)
    lifetime_minutes = WholeNumber(
        min_value=LIFETIME_MINUTES[0], max_value=LIFETIME_MINUTES[1], required=False
    )
    max_age_minutes = WholeNumber(min_value=MAX_AGE_MINUTES[0], max_value=MAX_AGE_MINUTES[1], required=False)
    single_use = Truth(required=False)
    allows_pull_request_target = Truth(required=False)
    expires_at = Moment(required=False, allow_null=True)
    enabled = Truth(required=False)


class NewTrust(TrustChange):
    """What a trust is made from; what is left out is as its preset has it."""

    name = Text(max_length=100)
    preset = serializers.ChoiceField(choices=TrustPreset.choices)
    claims = serializers.DictField(child=Text(max_length=1000))
    role = serializers.ChoiceField(choices=TrustRole.choices)
    enabled = None  # type: ignore[assignment]  # Django's way to drop an inherited field


class SampleToken(StrictSerializer):
    jwt = Text(max_length=MAX_BYTES)


class CheckDocument(serializers.Serializer[Any]):
    """A rule that the sample meets or fails."""

    rule = serializers.CharField(read_only=True)
    passed = serializers.BooleanField(read_only=True)
    expected = serializers.CharField(read_only=True)
    found = serializers.CharField(read_only=True)


class TrialDocument(serializers.Serializer[Any]):
    passed = serializers.BooleanField(read_only=True)
    problem = serializers.CharField(read_only=True, help_text="Why the text is no token; empty if it is one.")
    checks = CheckDocument(many=True, read_only=True)


class WorkloadSignIn(StrictSerializer):
    """The name of a trust, and the token that the platform gave the workload."""

    either: ClassVar[tuple[str, ...]] = ("trust", "role")
    trust = Text(max_length=100, required=False)
    role = Text(max_length=100, required=False, help_text="The same as `trust`.")
    jwt = Text(max_length=MAX_BYTES)

    def missing(self, data: Any) -> dict[str, list[str]]:
        """Require one of the two names."""
        return {} if {"trust", "role"} & set(data) else {"trust": ["This field is required."]}


class WorkloadToken(serializers.Serializer[Any]):
    """A service token for a workload, whose text is shown this once."""

    token = serializers.CharField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)
    trust = serializers.CharField(read_only=True)
    environment = serializers.CharField(read_only=True)
    role = serializers.CharField(read_only=True)
    prefix = serializers.CharField(read_only=True)


class TrustListView(AccessView):
    queryset = Trust.objects.none()
    serializer_class = TrustDocument

    @extend_schema(summary="List trusts", responses=TrustDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        """List the trusts of an environment, disabled ones as well."""
        place = find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.TRUST_VIEW, environment=place)
        rows = Trust.objects.filter(environment=place).select_related("environment", "created_by")
        return self.get_paginated_response(TrustDocument(self.page(rows), many=True).data)

    @extend_schema(summary="Create a trust", request=NewTrust, responses={201: TrustDocument})
    def post(self, request: Request, environment: str) -> Response:
        """Let workloads of a platform sign in with the tokens that it signs."""
        place = find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.TRUST_CREATE, environment=place)
        trust = service.create(actor=self.actor, environment=place, **self.given(NewTrust))
        return Response(TrustDocument(trust).data, status=status.HTTP_201_CREATED)


class TrustView(AccessView):
    queryset = Trust.objects.none()
    serializer_class = TrustDocument

    @extend_schema(summary="Read a trust", responses=TrustDocument)
    def get(self, request: Request, environment: str, id: int) -> Response:
        return Response(TrustDocument(_found(self.actor, environment, id)).data)

    @extend_schema(summary="Change a trust", request=TrustChange, responses=TrustDocument)
    def patch(self, request: Request, environment: str, id: int) -> Response:
        """Change a trust; what narrows who signs in or what for ends the tokens that it issued."""
        trust = _found(self.actor, environment, id)
        changed = service.change(actor=self.actor, trust=trust, **self.given(TrustChange))
        return Response(TrustDocument(changed).data)

    @extend_schema(summary="Delete a trust", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """Delete a trust; the tokens that it issued end at once."""
        service.delete(actor=self.actor, trust=_found(self.actor, environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class TrustActs(AccessView):
    queryset = Trust.objects.none()
    serializer_class = TrustDocument

    def find(self, act: Act, **address: Any) -> Trust:
        return _found(self.actor, **address)


TrustKeysView = act_view(TrustActs, acts.FETCH_KEYS, answer=TrustDocument)


class TrustTrialView(AccessView):
    queryset = Trust.objects.none()
    serializer_class = TrialDocument

    @extend_schema(summary="Test a token against a trust", request=SampleToken, responses=TrialDocument)
    def post(self, request: Request, environment: str, id: int) -> Response:
        """Return which rules a sample token meets. It is not stored, and no workload signs in."""
        trust = _found(self.actor, environment, id)
        jwt = self.given(SampleToken)["jwt"]
        return Response(TrialDocument(try_token(actor=self.actor, trust=trust, jwt=jwt)).data)


class WorkloadSignInView(AccessView):
    authentication_classes = ()
    permission_classes = ()
    pagination_class = None
    serializer_class = WorkloadToken

    @extend_schema(
        summary="Sign in as a workload", auth=[], request=WorkloadSignIn, responses={201: WorkloadToken}
    )
    def post(self, request: Request) -> Response:
        """Exchange the token that a platform signed for a service token of 15 to 60 minutes."""
        body, http = self.given(WorkloadSignIn), plain_request(request)
        entered = sign_in(
            trust_name=body.get("trust") or body.get("role") or "",
            jwt=body["jwt"],
            address=address_of(http),
            request_id=request_id_of(http),
        )
        token = entered.token
        document = WorkloadToken(
            {
                "token": entered.text,
                "expires_at": token.expires_at,
                "trust": entered.trust.name,
                "environment": entered.trust.environment.name,
                "role": token.role,
                "prefix": token.prefix,
            }
        )
        return Response(document.data, status=status.HTTP_201_CREATED)


def _found(actor: Principal, environment: str, id: int) -> Trust:
    place = find_environment(actor=actor, name=environment)
    return service.find_trust(actor=actor, environment=place, id=id)
