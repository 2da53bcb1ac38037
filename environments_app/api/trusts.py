"""The API of trusts, and the sign-in of workloads: thin over the use cases."""

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.api import trust_documents as documents
from environments_app.api.environments import NO_CONTENT, AccessView
from environments_app.authentication.drf import address_of, plain_request, request_id_of
from environments_app.authorization.policy import Principal, require
from environments_app.environments.service import find_environment
from environments_app.models import Trust
from environments_app.trusts import service
from environments_app.trusts.sign_in import sign_in
from environments_app.trusts.trial import try_token


class TrustListView(AccessView):
    """The trusts of an environment, and new ones."""

    queryset = Trust.objects.none()
    serializer_class = documents.TrustDocument

    @extend_schema(summary="List trusts", responses=documents.TrustDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        """List the trusts of an environment, disabled ones as well."""
        place = find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.TRUST_VIEW, environment=place)
        rows = Trust.objects.filter(environment=place).select_related("environment", "created_by")
        return self.get_paginated_response(documents.TrustDocument(self.page(rows), many=True).data)

    @extend_schema(
        summary="Create a trust", request=documents.NewTrust, responses={201: documents.TrustDocument}
    )
    def post(self, request: Request, environment: str) -> Response:
        """Let workloads of a platform sign in with the tokens that it signs."""
        place = find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.TRUST_CREATE, environment=place)
        trust = service.create(actor=self.actor, environment=place, **self.given(documents.NewTrust))
        return Response(documents.TrustDocument(trust).data, status=status.HTTP_201_CREATED)


class TrustView(AccessView):
    """One trust."""

    queryset = Trust.objects.none()
    serializer_class = documents.TrustDocument

    @extend_schema(summary="Read a trust", responses=documents.TrustDocument)
    def get(self, request: Request, environment: str, id: int) -> Response:
        """Return a trust."""
        return Response(documents.TrustDocument(_found(self.actor, environment, id)).data)

    @extend_schema(summary="Change a trust", request=documents.TrustChange, responses=documents.TrustDocument)
    def patch(self, request: Request, environment: str, id: int) -> Response:
        """Change a trust; what decides who signs in ends the tokens that it issued."""
        trust = _found(self.actor, environment, id)
        changed = service.change(actor=self.actor, trust=trust, **self.given(documents.TrustChange))
        return Response(documents.TrustDocument(changed).data)

    @extend_schema(summary="Delete a trust", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """Delete a trust; the tokens that it issued end at once."""
        service.delete(actor=self.actor, trust=_found(self.actor, environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class TrustTrialView(AccessView):
    """A trial of a sample token."""

    queryset = Trust.objects.none()
    serializer_class = documents.TrialDocument

    @extend_schema(
        summary="Test a token against a trust",
        request=documents.SampleToken,
        responses=documents.TrialDocument,
    )
    def post(self, request: Request, environment: str, id: int) -> Response:
        """Return which rules a sample token meets. It is not stored, and no workload signs in."""
        trust = _found(self.actor, environment, id)
        jwt = self.given(documents.SampleToken)["jwt"]
        return Response(documents.TrialDocument(try_token(actor=self.actor, trust=trust, jwt=jwt)).data)


class WorkloadSignInView(AccessView):
    """The sign-in of a workload, which has no other credential."""

    authentication_classes = ()
    permission_classes = ()
    pagination_class = None
    serializer_class = documents.WorkloadToken

    @extend_schema(
        summary="Sign in as a workload",
        auth=[],
        request=documents.WorkloadSignIn,
        responses={201: documents.WorkloadToken},
    )
    def post(self, request: Request) -> Response:
        """Exchange the token that a platform signed for a service token of 15 to 60 minutes."""
        given, http = self.given(documents.WorkloadSignIn), plain_request(request)
        entered = sign_in(
            trust_name=given.get("trust") or given.get("role") or "",
            jwt=given["jwt"],
            address=address_of(http),
            request_id=request_id_of(http),
        )
        token = entered.token
        document = documents.WorkloadToken(
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
