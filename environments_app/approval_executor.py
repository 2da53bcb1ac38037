"""Carries out approved changes of access, each by its ordinary use case."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from django.contrib.auth.models import Group
from django.db.models import Manager, Model, QuerySet
from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.integrity.row_state import state_digest
from environments_app.access_requests import decisions
from environments_app.approvals.group_members import REACHES
from environments_app.authorization.policy import Principal
from environments_app.environments import groups, memberships
from environments_app.environments import service as environments
from environments_app.environments.deletion import delete_environment
from environments_app.errors import ApprovalVoid
from environments_app.interfaces import ApprovalExecutor, ExecutionResult
from environments_app.models import (
    AccessRequest,
    Approval,
    Environment,
    Membership,
    OidcProvider,
    ServiceToken,
    Trust,
    User,
)
from environments_app.single_sign_on import group_mapping
from environments_app.tokens import rotation as tokens_rotation
from environments_app.tokens import service as tokens
from environments_app.tokens.service import Lifetime
from environments_app.trusts import service as trusts

_GONE: Final = "The object of this request no longer exists."
# By the argument with its primary key: the rows in whose present state something is changed.
_ROWS: Final[Mapping[str, Manager[Any]]] = {
    "membership": Membership.objects,
    "request": AccessRequest.objects,
    "rotates": ServiceToken.objects,
    "trust": Trust.objects,
}
_Row = TypeVar("_Row", bound=Model)


def _grant(actor: Principal, approval: Approval) -> ExecutionResult:
    if "request" in approval.arguments:
        return _grant_asked(actor, approval)
    arguments = _given(approval)
    user, group = arguments.pop("user"), arguments.pop("group")
    memberships.grant(
        actor=actor,
        environment=approval.environment,
        user=_found(User.objects.filter(uuid=user)) if user else None,
        group=_found(Group.objects.filter(name=group)) if group else None,
        **arguments,
    )
    return ExecutionResult(sentence="Access granted.")


def _grant_asked(actor: Principal, approval: Approval) -> ExecutionResult:
    arguments = dict(approval.arguments)
    del arguments["asked_by"]
    rows = AccessRequest.objects.select_related("environment", "requester")
    request = _found(rows.filter(pk=arguments.pop("request"), environment=approval.environment))
    decisions.approve(actor=actor, request=request, **arguments)
    return ExecutionResult(
        sentence="Access granted.", link=reverse("access-request-detail", args=[request.pk])
    )


def _change(actor: Principal, approval: Approval) -> ExecutionResult:
    arguments = _given(approval)
    rows = Membership.objects.select_related("environment", "user", "group")
    membership = _found(rows.filter(pk=arguments.pop("membership"), environment=approval.environment))
    memberships.change_membership(actor=actor, membership=membership, **arguments)
    return ExecutionResult(sentence="Access changed.")


def _issue(actor: Principal, approval: Approval) -> ExecutionResult:
    if "rotates" in approval.arguments:
        return _rotate(actor, approval)
    token, text = tokens.issue(actor=actor, environment=approval.environment, **_lasting(approval))
    return ExecutionResult(sentence=f"Token {token.name} issued.", plaintext=text)


def _rotate(actor: Principal, approval: Approval) -> ExecutionResult:
    rows = ServiceToken.objects.select_related("environment")
    old = _found(rows.filter(pk=approval.arguments["rotates"], environment=approval.environment))
    overlap = timedelta(seconds=approval.arguments["overlap"])
    token, text = tokens_rotation.rotate(actor=actor, token=old, overlap=overlap)
    return ExecutionResult(sentence=f"Token {token.name} rotated.", plaintext=text)


def _trust(actor: Principal, approval: Approval) -> ExecutionResult:
    trusts.create(actor=actor, environment=approval.environment, **_lasting(approval))
    return ExecutionResult(sentence="Trust created. Workloads can sign in.")


def _change_trust(actor: Principal, approval: Approval) -> ExecutionResult:
    arguments = _given(approval)
    rows = Trust.objects.select_related("environment")
    trust = _found(rows.filter(pk=arguments.pop("trust"), environment=approval.environment))
    trusts.change(actor=actor, trust=trust, **arguments)
    return ExecutionResult(sentence="Trust changed.")


def _update(actor: Principal, approval: Approval) -> ExecutionResult:
    stored = environments.update_environment(
        actor=actor, environment=approval.environment, **dict(approval.arguments)
    )
    return ExecutionResult(sentence=" ".join(["Settings saved.", *stored.warnings]))


def _delete(actor: Principal, approval: Approval) -> ExecutionResult:
    delete_environment(actor=actor, environment=approval.environment)
    return ExecutionResult(
        sentence=f"Environment {approval.environment.name} deleted.", link=reverse("deleted-environments")
    )


def _join(actor: Principal, approval: Approval) -> ExecutionResult:
    user = _found(User.objects.filter(uuid=approval.arguments["user"]))
    group = _found(Group.objects.filter(name=approval.arguments["group"]))
    groups.add_to_group(actor=actor, user=user, group=group)
    return ExecutionResult(sentence="Person added to the group.")


def _map(actor: Principal, approval: Approval) -> ExecutionResult:
    arguments = dict(approval.arguments)
    if slug := arguments.pop("provider", None):
        arguments["provider"] = _found(OidcProvider.objects.filter(slug=slug))
    group_mapping.map_group(actor=actor, environment=approval.environment, **arguments)
    return ExecutionResult(sentence="Mapping added. It applies at the next sign-in.")


def _lasting(approval: Approval) -> dict[str, Any]:
    """Return the arguments; asked for without an end, it lives for the usual time from now."""
    if approval.arguments["expires_at"] == "default":
        return {**approval.arguments, "expires_at": Lifetime.DEFAULT}
    return _given(approval)


def _given(approval: Approval) -> dict[str, Any]:
    arguments = {name: value for name, value in approval.arguments.items() if name != REACHES}
    if arguments.get("expires_at"):
        arguments["expires_at"] = datetime.fromisoformat(arguments["expires_at"])
    return arguments


def _found(rows: QuerySet[_Row]) -> _Row:
    row = rows.first()
    if row is None:
        raise ApprovalVoid(_GONE)
    return row


class AccessApprovalExecutor(ApprovalExecutor):
    """Does what widens access, and un-protects; nothing of it is secret, so that nothing is kept."""

    acts = {
        Action.MEMBER_GRANT: _grant,
        Action.MEMBER_CHANGE: _change,
        Action.TOKEN_ISSUE: _issue,
        Action.TRUST_CREATE: _trust,
        Action.TRUST_CHANGE: _change_trust,
        Action.ENVIRONMENT_UPDATE: _update,
        Action.ENVIRONMENT_DELETE: _delete,
        Action.GROUP_CHANGE: _join,
        Action.SAML_MAPPING_CHANGE: _map,
    }

    def object_url(self, approval: Approval) -> str:
        """Return the page of the environment, where members, tokens and settings are."""
        return reverse("environment-detail", args=[approval.environment.name])

    def state_of(self, approval: Approval) -> str | None:
        """Return the state of the row that an argument names, or of the environment."""
        for name, rows in _ROWS.items():
            if name in approval.arguments:
                row = rows.filter(pk=approval.arguments[name]).first()
                return state_digest(row) if row else None
        return state_digest(Environment.objects.get(pk=approval.environment_id))
