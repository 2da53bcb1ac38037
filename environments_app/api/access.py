"""The API of what is suspended in an environment: thin over the use cases."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.api.base import NO_CONTENT, AccessView
from environments_app.api.fields import Moment, StrictSerializer
from environments_app.approvals.program_releases import explain_all_access
from environments_app.authorization.effective_access import (
    PERSON,
    TOKEN,
    TRUST,
    held_accounts,
)
from environments_app.authorization.policy import require
from environments_app.environments import service as environments
from environments_app.environments.access_history import explain_past_access
from environments_app.errors import Invisible
from environments_app.models import Environment, Role
from environments_app.names import MAX_PREFIX, MAX_USERNAME
from environments_app.users import suspensions
from environments_app.users.password_backend import named_user
from environments_app.users.suspensions import suspended_accounts, suspended_mappings


class SuspendedAccount(serializers.Serializer[Any]):
    """An account that sees names alone until a manager confirms it."""

    user = serializers.CharField(source="username", read_only=True)
    suspended_at = serializers.DateTimeField(read_only=True)


class HeldAccount(serializers.Serializer[Any]):
    """An account that other people could use as well, until a manager who is none of them confirms it."""

    user = serializers.CharField(source="user.username", read_only=True)
    by = serializers.ListField(child=serializers.CharField(), read_only=True)


class SuspendedMapping(serializers.Serializer[Any]):
    """A group of single sign-on whose members see names alone until a manager confirms it."""

    id = serializers.IntegerField(read_only=True)
    group = serializers.CharField(read_only=True)
    role = serializers.ChoiceField(choices=Role.choices, read_only=True)
    prefix = serializers.CharField(read_only=True)
    suspended_at = serializers.DateTimeField(read_only=True)


class Suspensions(serializers.Serializer[Any]):
    accounts = SuspendedAccount(many=True, read_only=True)
    mappings = SuspendedMapping(many=True, read_only=True)
    held = HeldAccount(many=True, read_only=True)


class WayDocument(serializers.Serializer[Any]):
    """One way to the values of an environment, and why it does not lead there now, if it does not."""

    kind = serializers.ChoiceField(choices=[PERSON, TOKEN, TRUST], read_only=True)
    who = serializers.CharField(read_only=True)
    reads = serializers.BooleanField(read_only=True)
    hindrances = serializers.ListField(child=serializers.CharField(), read_only=True)
    via = serializers.CharField(read_only=True)
    role = serializers.CharField(read_only=True)
    prefix = serializers.CharField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True, allow_null=True)
    granted_by = serializers.CharField(read_only=True)


class AccessQuery(serializers.Serializer[Any]):
    """About what and whom is asked; by default about the whole environment and everybody."""

    name = serializers.CharField(required=False, max_length=MAX_PREFIX)
    person = serializers.CharField(required=False, max_length=MAX_USERNAME)
    token = serializers.CharField(required=False, max_length=100)
    as_of = serializers.DateField(
        required=False,
        help_text="At the end of this day, in UTC, by the audit log.",
    )


class AccessExplanation(serializers.Serializer[Any]):
    """Every way to the values of an environment, those that read now first."""

    ways = WayDocument(many=True, read_only=True)


class AccountConfirmation(StrictSerializer):
    """Which suspension of the account is meant, as it was listed; null for one that is not suspended."""

    suspended_at = Moment(allow_null=True)


class EffectiveAccessView(AccessView):
    queryset = Environment.objects.none()
    serializer_class = AccessExplanation
    pagination_class = None
    filter_names: ClassVar[tuple[str, ...]] = tuple(AccessQuery().fields)

    @extend_schema(summary="Explain who can read", parameters=[AccessQuery], responses=AccessExplanation)
    def get(self, request: Request, environment: str) -> Response:
        """Explain each way to the values, now or `as_of` a day: by whom, how long, what is in the way."""
        place = environments.find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.MEMBER_VIEW, environment=place)
        query = AccessQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = dict(query.validated_data)
        if day := asked.pop("as_of", None):
            past = explain_past_access(actor=self.actor, environment=place, day=day, **asked)
            return Response(AccessExplanation({"ways": past}).data)
        ways = explain_all_access(actor=self.actor, environment=place, **asked)
        return Response(AccessExplanation({"ways": ways}).data)


class SuspensionsView(AccessView):
    queryset = Environment.objects.none()
    serializer_class = Suspensions
    pagination_class = None

    @extend_schema(summary="List what is suspended", responses=Suspensions)
    def get(self, request: Request, environment: str) -> Response:
        """List the accounts and groups that wait for a manager's word."""
        place = environments.find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.MEMBER_VIEW, environment=place)
        suspended = {
            "accounts": suspended_accounts(place),
            "mappings": suspended_mappings(place),
            "held": held_accounts(place),
        }
        return Response(Suspensions(suspended).data)


class AccountConfirmationView(AccessView):
    queryset = Environment.objects.none()
    serializer_class = AccountConfirmation
    pagination_class = None

    @extend_schema(summary="Confirm an account", request=AccountConfirmation, responses={204: NO_CONTENT})
    def post(self, request: Request, environment: str, user: str) -> Response:
        """Confirm that an account is in its person's hands; it takes another person."""
        place = environments.find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.ACCESS_CONFIRM, environment=place)
        since = self.given(AccountConfirmation)["suspended_at"]
        account = named_user(user)
        if account is None:
            raise Invisible("User not found.")
        suspensions.confirm_account(actor=self.actor, environment=place, user=account, since=since)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MappingConfirmationView(AccessView):
    queryset = Environment.objects.none()
    serializer_class = SuspendedMapping
    pagination_class = None

    @extend_schema(summary="Confirm a group", request=None, responses={204: NO_CONTENT})
    def post(self, request: Request, environment: str, id: int) -> Response:
        """Confirm what an administrator mapped to a group; it takes a person."""
        place = environments.find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.ACCESS_CONFIRM, environment=place)
        mapping = suspensions.find_suspended_mapping(actor=self.actor, environment=place, id=id)
        suspensions.confirm_mapping(actor=self.actor, mapping=mapping)
        return Response(status=status.HTTP_204_NO_CONTENT)
