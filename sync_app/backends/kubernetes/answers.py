"""What answers of an API server mean, by status, reason and message of their Status object.

ANSWERS has what each proves about a write.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import orjson

from core.network.outbound import Reply
from sync_app.backends.answers import PARSE_ERRORS, Proof, Request, VendorAnswer, unexpected_answer
from sync_app.errors import (
    AnswerUnexpected,
    BackendError,
    ChangedSinceRead,
    CredentialsRejected,
    MountMissing,
    OutcomeUnknown,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
)


class ListExpired(TargetBusy):
    """The next page of a list is not there any more: the list has to be begun again (410 Gone)."""


_ALWAYS: Final[Mapping[int, tuple[type[BackendError], str]]] = {
    HTTPStatus.UNAUTHORIZED: (
        CredentialsRejected,
        "the API server does not accept the token: renew it",
    ),
    HTTPStatus.GONE: (ListExpired, "the list expired in Kubernetes: try again"),
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
    return RequestRefused(f"Kubernetes refused {method} ({f'{status} {told.reason}'.strip()})")


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


_CONVENTIONS: Final = 'Kubernetes API conventions, "HTTP Status codes"'
_ADMISSION: Final = 'Kubernetes, "Dynamic Admission Control", "Response"'
_NO_STATUS: Final = "<html><body>Not Found</body></html>"


def _told(status: int, reason: str, message: str = "", cause: str = "") -> str:
    details = {"causes": [{"reason": cause}]} if cause else {}
    told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
    return orjson.dumps(told | {"reason": reason, "message": message, "details": details}).decode()


def _row(
    status: int,
    reason: str,
    answer: str,
    error: type[BackendError],
    *of: str,
    message: str = "",
    cause: str = "",
    proves: Proof = Proof.NOTHING,
    source: str = _CONVENTIONS,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> VendorAnswer:
    return VendorAnswer(
        answer=f"{status} {reason}{answer}",
        to=Request.WRITE,
        status=status,
        body=_told(status, reason, message, cause),
        headers=headers,
        proves=proves,
        error=error,
        source=source,
        of=of,
    )


ANSWERS: Final[tuple[VendorAnswer, ...]] = (
    _row(400, "BadRequest", "", RequestRefused),
    _row(401, "Unauthorized", ": the token is not accepted", CredentialsRejected),
    _row(
        403,
        "Forbidden",
        ": the role does not allow it",
        PermissionMissing,
        message='secrets is forbidden: User "system:serviceaccount:a:b" cannot create resource "secrets" in '
        'API group "" in the namespace "default"',
        source='Kubernetes, "Authorization", "Using RBAC Authorization"',
    ),
    _row(
        403,
        "Forbidden",
        ": a quota of the namespace",
        QuotaExceeded,
        message='secrets "a" is forbidden: exceeded quota: few, requested: secrets=1, used: secrets=9, '
        "limited: secrets=9",
        source='Kubernetes, "Resource Quotas"',
    ),
    _row(
        403,
        "Forbidden",
        ": an admission webhook",
        RequestRefused,
        message='admission webhook "policy.example" denied the request: no',
        source=_ADMISSION,
    ),
    _row(
        403,
        "Forbidden",
        ": the namespace is being deleted",
        RequestRefused,
        "POST",
        message='secrets "a" is forbidden: unable to create new content in namespace default because it is '
        "being terminated",
        cause="NamespaceTerminating",
        source='Kubernetes, "Admission Controllers", "NamespaceLifecycle"',
    ),
    _row(404, "NotFound", ": no such namespace", MountMissing, "POST"),
    _row(404, "NotFound", ": no such Secret", NotFound, "PATCH"),
    VendorAnswer(
        answer="404 of something else than an API server",
        to=Request.WRITE,
        status=404,
        body=_NO_STATUS,
        proves=Proof.UNKNOWN,
        error=AnswerUnexpected,
        source='Kubernetes API conventions, "Response Status Kind"',
    ),
    _row(405, "MethodNotAllowed", "", RequestRefused),
    _row(409, "AlreadyExists", "", ChangedSinceRead, "POST"),
    _row(
        409,
        "Conflict",
        ": the resource version is another",
        ChangedSinceRead,
        "PATCH",
        message='Operation cannot be fulfilled on secrets "a": the object has been modified',
        source='Kubernetes API conventions, "Concurrency Control and Consistency"',
    ),
    _row(
        409,
        "Conflict",
        ": a quota was counted at the same time",
        TargetBusy,
        "POST",
        message='Operation cannot be fulfilled on resourcequotas "few": the object has been modified',
        source='Kubernetes API conventions, "Concurrency Control and Consistency"',
    ),
    _row(413, "RequestEntityTooLarge", "", QuotaExceeded),
    _row(415, "UnsupportedMediaType", "", RequestRefused),
    _row(422, "Invalid", ": a field is not valid", RequestRefused, message='Secret "a" is invalid: data: no'),
    _row(
        422,
        "Invalid",
        ": a policy of admission",
        RequestRefused,
        message="ValidatingAdmissionPolicy 'few' with binding 'few' denied request: no",
        source='Kubernetes, "Validating Admission Policy"',
    ),
    _row(
        429,
        "TooManyRequests",
        ", with Retry-After",
        TargetBusy,
        headers={"Retry-After": "1"},
        source='Kubernetes, "API Priority and Fairness"',
    ),
    _row(
        500,
        "InternalError",
        ", also of a webhook that was not reached",
        TargetBusy,
        message='Internal error occurred: failed calling webhook "policy.example"',
        proves=Proof.UNKNOWN,
    ),
    _row(503, "ServiceUnavailable", "", TargetBusy, proves=Proof.UNKNOWN),
    _row(504, "Timeout", ": the server gave up the request", TargetBusy, proves=Proof.UNKNOWN),
    VendorAnswer(
        answer="none",
        to=Request.WRITE,
        status=0,
        proves=Proof.UNKNOWN,
        error=TargetUnreachable,
        source=_CONVENTIONS,
    ),
    *(
        VendorAnswer(
            answer=f"{status} {reason}",
            to=Request.LOOK,
            status=status,
            body=_told(status, reason),
            proves=Proof.NOTHING,
            error=error,
            source=_CONVENTIONS,
        )
        for status, reason, error in (
            (401, "Unauthorized", CredentialsRejected),
            (403, "Forbidden", PermissionMissing),
            (410, "Expired", ListExpired),
            (429, "TooManyRequests", TargetBusy),
            (503, "ServiceUnavailable", TargetBusy),
        )
    ),
    *(
        VendorAnswer(
            answer=answer,
            to=Request.LOOK_AFTER,
            status=status,
            body=_told(status, reason),
            proves=Proof.UNKNOWN,
            error=OutcomeUnknown,
            source=_CONVENTIONS,
            of=("PATCH",),
        )
        for answer, status, reason in (
            ("none", 0, ""),
            ("403 Forbidden", 403, "Forbidden"),
            ("429 TooManyRequests", 429, "TooManyRequests"),
            ("503 ServiceUnavailable", 503, "ServiceUnavailable"),
        )
    ),
)
