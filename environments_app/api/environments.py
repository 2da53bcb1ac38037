"""The API of environments, members and tokens: thin over the use cases."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Q
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app.api import serializers as documents
from environments_app.api.base import NO_CONTENT, AccessView
from environments_app.authorization.policy import Principal, require, visible_environments
from environments_app.environments import deletion, memberships
from environments_app.environments import service as environments
from environments_app.errors import Conflict
from environments_app.models import Environment, Membership, PersonalToken, ServiceToken
from environments_app.sessions.service import revoke_token
from environments_app.tokens import rotation as tokens_rotation
from environments_app.tokens import service as tokens
from environments_app.tokens.children import end_token
from environments_app.users.accounts import find_group, user_by_name


class EnvironmentListView(AccessView):
    queryset = Environment.objects.none()
    serializer_class = documents.EnvironmentDocument
    ordering_fields = {"name": "name", "position": "position", "created_at": "created_at"}
    default_ordering = "name"

    @extend_schema(summary="List environments", responses=documents.EnvironmentDocument(many=True))
    def get(self, request: Request) -> Response:
        """List the environments that the actor may see."""
        rows = self.page(Environment.objects.filter(visible_environments(self.actor)))
        document = documents.EnvironmentDocument(verified_rows(rows), many=True)
        return self.get_paginated_response(document.data)

    @extend_schema(
        summary="Create an environment",
        request=documents.NewEnvironment,
        responses={201: documents.SavedEnvironment},
    )
    def post(self, request: Request) -> Response:
        """Create an environment, whose creator becomes its manager."""
        environment = environments.create_environment(
            actor=self.actor, **self.given(documents.NewEnvironment)
        )
        return Response(documents.SavedEnvironment(environment).data, status=status.HTTP_201_CREATED)


class EnvironmentView(AccessView):
    needs_approval = frozenset({"PATCH", "DELETE"})
    queryset = Environment.objects.none()
    serializer_class = documents.EnvironmentDocument

    @extend_schema(summary="Read an environment", responses=documents.EnvironmentDocument)
    def get(self, request: Request, environment: str) -> Response:
        place = environments.find_environment(actor=self.actor, name=environment)
        return Response(documents.EnvironmentDocument(place).data)

    @extend_schema(
        summary="Change an environment",
        request=documents.EnvironmentChange,
        responses=documents.SavedEnvironment,
    )
    def patch(self, request: Request, environment: str) -> Response:
        """Change settings of an environment; what is left out is kept."""
        place = environments.find_environment(actor=self.actor, name=environment)
        changes = self.given(documents.EnvironmentChange)
        changed = environments.update_environment(actor=self.actor, environment=place, **changes)
        return Response(documents.SavedEnvironment(changed).data)

    @extend_schema(summary="Delete an environment", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str) -> Response:
        """Delete an environment with all that is in it.

        From the next request on it does not exist. It is kept, sealed, for the retention of deleted secrets,
        and can be restored with everything until then. What was synced to other systems stays there.
        """
        place = environments.find_environment(actor=self.actor, name=environment)
        deletion.delete_environment(actor=self.actor, environment=place)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeletedEnvironmentListView(AccessView):
    queryset = Environment.objects.none()
    serializer_class = documents.DeletedEnvironmentDocument

    @extend_schema(
        summary="List deleted environments", responses=documents.DeletedEnvironmentDocument(many=True)
    )
    def get(self, request: Request) -> Response:
        """List the deleted environments that the actor may restore."""
        rows = verified_rows(self.page(deletion.deleted_environments(self.actor)))
        return self.get_paginated_response(documents.DeletedEnvironmentDocument(rows, many=True).data)


class EnvironmentRestoreView(AccessView):
    queryset = Environment.objects.none()
    serializer_class = documents.EnvironmentDocument
    pagination_class = None

    @extend_schema(
        summary="Restore a deleted environment", request=None, responses=documents.EnvironmentDocument
    )
    def post(self, request: Request, environment: str) -> Response:
        """Bring an environment back with everything as it was, access included."""
        place = deletion.find_deleted(actor=self.actor, name=environment)
        restored = deletion.restore_environment(actor=self.actor, environment=place)
        return Response(documents.EnvironmentDocument(restored).data)


class MemberListView(AccessView):
    needs_approval = frozenset({"POST"})
    queryset = Membership.objects.none()
    serializer_class = documents.MemberDocument

    @extend_schema(summary="List members", responses=documents.MemberDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        """List the memberships of an environment, those that are not genuine as well."""
        place = environments.find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.MEMBER_VIEW, environment=place)
        rows = place.memberships.select_related("environment", "user", "group", "granted_by")
        return self.get_paginated_response(documents.MemberDocument(self.page(rows), many=True).data)

    @extend_schema(
        summary="Give a user or a group a role",
        request=documents.NewMember,
        responses={201: documents.MemberDocument},
    )
    def post(self, request: Request, environment: str) -> Response:
        place = environments.find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.MEMBER_GRANT, environment=place)
        fields = self.given(documents.NewMember)
        membership = memberships.grant(
            actor=self.actor,
            environment=place,
            user=user_by_name(fields.pop("user", None)),
            group=find_group(fields.pop("group", None)),
            **fields,
        )
        return Response(documents.MemberDocument(membership).data, status=status.HTTP_201_CREATED)


class MemberView(AccessView):
    needs_approval = frozenset({"PATCH", "DELETE"})
    queryset = Membership.objects.none()
    serializer_class = documents.MemberDocument

    @extend_schema(summary="Read a membership", responses=documents.MemberDocument)
    def get(self, request: Request, environment: str, id: int) -> Response:
        return Response(documents.MemberDocument(self._membership(environment, id)).data)

    @extend_schema(
        summary="Change a membership", request=documents.MemberChange, responses=documents.MemberDocument
    )
    def patch(self, request: Request, environment: str, id: int) -> Response:
        """Change role, prefix or expiry; what is left out is kept."""
        membership = self._membership(environment, id)
        changes = self.given(documents.MemberChange)
        changed = memberships.change_membership(actor=self.actor, membership=membership, **changes)
        return Response(documents.MemberDocument(changed).data)

    @extend_schema(summary="Take a role away", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """Revoke a membership, also one that is not genuine."""
        memberships.revoke_membership(actor=self.actor, membership=self._membership(environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _membership(self, environment: str, id: int) -> Membership:
        place = environments.find_environment(actor=self.actor, name=environment)
        return memberships.find_membership(actor=self.actor, environment=place, id=id)


class TokenListView(AccessView):
    needs_approval = frozenset({"POST"})
    queryset = ServiceToken.objects.none()
    serializer_class = documents.TokenDocument
    new: ClassVar[type[BaseSerializer[Any]]] = documents.NewToken

    @extend_schema(summary="List the tokens of an environment", responses=documents.TokenDocument(many=True))
    def get(self, request: Request, environment: str | None = None) -> Response:
        """List the tokens of an environment, revoked ones as well."""
        place = _place(self.actor, environment)
        require(actor=self.actor, action=Action.TOKEN_VIEW, environment=place)
        # Those of workloads come and go: their trusts are listed.
        rows = ServiceToken.objects.filter(environment=place, trust_uuid=None, parent_uuid=None)
        rows = rows.select_related("environment", "created_by")
        return self.get_paginated_response(documents.TokenDocument(self.page(rows), many=True).data)

    @extend_schema(
        summary="Issue a token", request=documents.NewToken, responses={201: documents.IssuedToken}
    )
    def post(self, request: Request, environment: str | None = None) -> Response:
        """Issue a token; the answer alone holds its text."""
        place = _place(self.actor, environment)
        require(actor=self.actor, action=Action.TOKEN_ISSUE, environment=place)
        token, text = tokens.issue(actor=self.actor, environment=place, **self.given(self.new))
        document = {**documents.TokenDocument(token).data, "token": text}
        return Response(document, status=status.HTTP_201_CREATED)


class TokenView(AccessView):
    queryset = ServiceToken.objects.none()
    serializer_class = documents.TokenDocument
    narrowing: ClassVar[type[BaseSerializer[Any]]] = documents.TokenNarrowing

    @extend_schema(summary="Read a token of an environment", responses=documents.TokenDocument)
    def get(self, request: Request, id: int, environment: str | None = None) -> Response:
        """Return what is known about a token, without its secret."""
        return Response(documents.TokenDocument(self._token(environment, id)).data)

    @extend_schema(
        summary="Narrow a token", request=documents.TokenNarrowing, responses=documents.TokenDocument
    )
    def patch(self, request: Request, id: int, environment: str | None = None) -> Response:
        """Take role, names, networks or time from a token; what would give it more is refused."""
        token = self._token(environment, id)
        changed = tokens_rotation.narrow(actor=self.actor, token=token, **self.given(self.narrowing))
        return Response(documents.TokenDocument(changed).data)

    @extend_schema(summary="Revoke a token of an environment", responses={204: NO_CONTENT})
    def delete(self, request: Request, id: int, environment: str | None = None) -> Response:
        """End a token at once; it stays listed."""
        tokens.revoke(actor=self.actor, token=self._token(environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _token(self, environment: str | None, id: int) -> ServiceToken:
        place = _place(self.actor, environment)
        return tokens.find_token(actor=self.actor, environment=place, id=id)


class TokenRotationView(AccessView):
    needs_approval = frozenset({"POST"})
    queryset = ServiceToken.objects.none()
    serializer_class = documents.TokenRotation

    @extend_schema(
        summary="Rotate a token", request=documents.TokenRotation, responses={201: documents.IssuedToken}
    )
    def post(self, request: Request, id: int, environment: str | None = None) -> Response:
        """Issue a token's successor; both are valid for the overlap. The answer alone holds its text."""
        place = _place(self.actor, environment)
        require(actor=self.actor, action=Action.TOKEN_ISSUE, environment=place)
        token = tokens.find_token(actor=self.actor, environment=place, id=id)
        overlap = self.given(documents.TokenRotation)["overlap_seconds"]
        new, text = tokens_rotation.rotate(actor=self.actor, token=token, overlap=timedelta(seconds=overlap))
        document = {**documents.TokenDocument(new).data, "token": text}
        return Response(document, status=status.HTTP_201_CREATED)


@extend_schema_view(
    get=extend_schema(
        summary="List admin tokens", description="List the tokens that administer, revoked ones as well."
    ),
    post=extend_schema(
        summary="Issue an admin token",
        description="Issue a token that manages environments, members and tokens, and reads no value.",
        request=documents.NewAdminToken,
    ),
)
class AdminTokenListView(TokenListView):
    needs_approval = frozenset()
    new = documents.NewAdminToken


@extend_schema_view(
    get=extend_schema(summary="Read an admin token"),
    patch=extend_schema(
        summary="Narrow an admin token",
        description="Take networks or time from a token; what would give it more is refused.",
        request=documents.AdminTokenNarrowing,
    ),
    delete=extend_schema(summary="Revoke an admin token"),
)
class AdminTokenView(TokenView):
    narrowing = documents.AdminTokenNarrowing


@extend_schema_view(post=extend_schema(summary="Rotate an admin token"))
class AdminTokenRotationView(TokenRotationView):
    needs_approval = frozenset()


class WhoAmIView(AccessView):
    serializer_class = documents.WhoAmI
    pagination_class = None

    @extend_schema(summary="Who am I", responses=documents.WhoAmI)
    def get(self, request: Request) -> Response:
        return Response(documents.WhoAmI(self.actor).data)


class CurrentTokenView(AccessView):
    serializer_class = documents.WhoAmI
    pagination_class = None

    @extend_schema(summary="Revoke the token of this request", responses={204: NO_CONTENT})
    def delete(self, request: Request) -> Response:
        """End the token of a person or a workload with which this request came; kpr signs out by it."""
        scope = self.actor.scope
        personal = PersonalToken.objects.filter(uuid=scope.token).first() if scope else None
        made = Q(trust_uuid__isnull=False) | Q(parent_uuid__isnull=False)
        issued = ServiceToken.objects.filter(made, uuid=self.actor.uuid).first()
        if personal is not None:
            revoke_token(actor=self.actor, token=personal)
        elif issued is not None:
            end_token(actor=self.actor, token=issued)
        else:
            raise Conflict("This request came without the token of a person or a workload.")
        return Response(status=status.HTTP_204_NO_CONTENT)


def _place(actor: Principal, environment: str | None) -> Environment | None:
    return None if environment is None else environments.find_environment(actor=actor, name=environment)
