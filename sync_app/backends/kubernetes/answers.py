"""What answers of an API server mean, by status, reason and message of their Status object."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import orjson

from audit_app.network.outbound import Reply
from sync_app.backends.answers import PARSE_ERRORS, unexpected_answer
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    CredentialsRejected,
    MountMissing,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
)

_ALWAYS: Final[Mapping[int, tuple[type[BackendError], str]]] = {
    HTTPStatus.UNAUTHORIZED: (
        CredentialsRejected,
        "the API server does not accept the token: renew it",
    ),
    HTTPStatus.GONE: (TargetBusy, "the list expired in Kubernetes: try again"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        QuotaExceeded,
        "the value is larger than a Secret may be (1 MiB)",
    ),
}
_CHANGED: Final = "the Secret changed in Kubernetes after it was read: refresh the plan"
_VERBS: Final = {"GET": "get or list", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
_ROLE: Final = re.compile(r'User "[^"]*".* cannot (get|list|create|patch|delete) ')
_QUOTA: Final = re.compile(r"\bexceeded quota\b")
_POLICY: Final = re.compile(r"\badmission webhook\b|\bValidatingAdmissionPolicy\b")
_REFUSED_BY_POLICY: Final = (
    "an admission rule of the cluster refuses it (a webhook or a policy, not the role): ask those who run "
    "the cluster"
)


class NotFound(ChangedSinceRead):
    """There is no such object."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a Status object says (API conventions, "Response Status Kind"); its message stays in here."""

    reason: str = ""
    message: str = field(default="", repr=False)
    causes: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, data: bytes) -> "Status":
        """Return what an answer says; nothing for one that is no Status object, such as a proxy's."""
        try:
            found = orjson.loads(data)
            if found["kind"] != "Status":
                return cls()
            details = found.get("details") or {}
            causes = frozenset(str(each.get("reason")) for each in details.get("causes") or [])
            return cls(
                reason=str(found.get("reason") or ""), message=str(found.get("message") or ""), causes=causes
            )
        except PARSE_ERRORS:
            return cls()


def translate(method: str, path: str, reply: Reply) -> BackendError:  # noqa: PLR0911  one return a meaning
    """Return what an answer means (Kubernetes API conventions, "HTTP Status codes")."""
    status, told = reply.status, Status.parse(reply.body)
    if status in _ALWAYS:
        error, message = _ALWAYS[status]
        return error(message)
    if status == HTTPStatus.FORBIDDEN:
        return _forbidden(method, path, told)
    if status == HTTPStatus.NOT_FOUND:
        return _not_found(method, told)
    if status == HTTPStatus.CONFLICT:
        if method == "POST" and told.reason != "AlreadyExists":
            # Such as a quota that was counted at the same time: nothing is at the name.
            return TargetBusy("the API server could not create it just now: try again later")
        return ChangedSinceRead(_CHANGED)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        asked = reply.headers.get("Retry-After", "")
        return TargetBusy(
            f"the API server is busy or failed ({status}): try again later",
            retry_after=float(asked) if asked.isdecimal() else 0.0,
        )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return MountMissing("the API server sends clients elsewhere: give its own address")
    if _POLICY.search(told.message):
        return RequestRefused(_REFUSED_BY_POLICY)
    return RequestRefused(f"Kubernetes refused {method} ({status} {told.reason})".rstrip())


def _forbidden(method: str, path: str, told: Status) -> BackendError:
    """Return what a 403 means: of the role, or of what admits objects after it ("Admission Control").

    Only the message distinguishes them: `User "x" cannot create resource ...` is the authorizer's.
    """
    if _POLICY.search(told.message):
        return RequestRefused(_REFUSED_BY_POLICY)
    if _QUOTA.search(told.message):
        return QuotaExceeded(
            "a ResourceQuota of the namespace has no room for it: delete Secrets there, or raise the quota"
        )
    if "NamespaceTerminating" in told.causes:
        return RequestRefused("the namespace is being deleted, and takes nothing new: create it again")
    allowed = _ROLE.search(told.message)
    if told.message and not allowed:
        return RequestRefused(_REFUSED_BY_POLICY)
    # /api/v1/namespaces/NAMESPACE/RESOURCE, or /apis/GROUP/v1/namespaces/NAMESPACE/RESOURCE.
    parts = path.strip("/").split("/")
    place = 4 if parts[0] == "api" else 5
    resource = parts[place] if len(parts) > place else "namespaces"
    verb = allowed[1] if allowed else _VERBS.get(method, method)
    return PermissionMissing(f"the token's role lacks {verb} on {resource}")


def _not_found(method: str, told: Status) -> BackendError:
    if told.reason != "NotFound":
        return unexpected_answer(f"{method} (404)")
    if method == "POST":
        return MountMissing("there is no such namespace in the cluster: create it, or check the address")
    return NotFound("the Secret is gone from Kubernetes: refresh the plan")
