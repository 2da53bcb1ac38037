"""What answers of Forgejo and Gitea prove about a write (their API documents, and the pages named)."""

from typing import Final

from sync_app.backends.answers import Proof, Request, VendorAnswer
from sync_app.errors import (
    BackendError,
    CredentialsRejected,
    MountMissing,
    OutcomeUnknown,
    PermissionMissing,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
)

_WRITE: Final = "API, updateRepoSecret and updateOrgSecret"
_LIST: Final = "API, repoListActionsSecrets and orgListActionsSecrets"
_SCOPES: Final = "Access token scope"
_PROXY: Final = "HTTP Semantics (RFC 9110), of a proxy before it"
_REFUSED: Final[tuple[tuple[int, str, type[BackendError], str], ...]] = (
    (400, ": no valid name, or data that is too long", RequestRefused, _WRITE),
    (401, ": the token is unknown or expired", CredentialsRejected, "API usage, Authentication"),
    (403, ": the scope or the user's role does not allow it", PermissionMissing, _SCOPES),
    (404, ": it is not permitted, where the place is listed", PermissionMissing, _WRITE),
    (413, ": the body is too large", RequestRefused, _PROXY),
    (422, ": the body is not valid, such as empty data", RequestRefused, _WRITE),
    (423, ": the repository is archived", RequestRefused, "API, responses, repoArchivedError"),
)
ANSWERS: Final[tuple[VendorAnswer, ...]] = (
    *(
        VendorAnswer(
            answer=f"{status}{meaning}",
            to=Request.WRITE,
            status=status,
            proves=Proof.NOTHING,
            error=error,
            source=source,
        )
        for status, meaning, error, source in _REFUSED
    ),
    VendorAnswer(
        answer="429 with Retry-After",
        to=Request.WRITE,
        status=429,
        headers={"Retry-After": "1"},
        proves=Proof.NOTHING,
        error=TargetBusy,
        source="Additional HTTP Status Codes (RFC 6585), 4, of a proxy before it",
    ),
    *(
        VendorAnswer(
            answer=str(status) if status else "none",
            to=Request.WRITE,
            status=status,
            proves=Proof.UNKNOWN,
            error=error,
            source=source,
        )
        for status, error, source in (
            (500, TargetBusy, _WRITE),
            (502, TargetBusy, _PROXY),
            (503, TargetBusy, _PROXY),
            (504, TargetBusy, _PROXY),
            (0, TargetUnreachable, _PROXY),
        )
    ),
    *(
        VendorAnswer(
            answer=f"{status}{meaning}",
            to=Request.LOOK,
            status=status,
            proves=Proof.NOTHING,
            error=error,
            source=source,
        )
        for status, meaning, error, source in (
            (401, "", CredentialsRejected, "API usage, Authentication"),
            (403, "", PermissionMissing, _SCOPES),
            (404, ": no such place, or not for this token", MountMissing, _LIST),
            (500, "", TargetBusy, _LIST),
        )
    ),
    *(
        VendorAnswer(
            answer=str(status) if status else "none",
            to=Request.LOOK_AFTER,
            status=status,
            proves=Proof.UNKNOWN,
            error=OutcomeUnknown,
            source=source,
            # The answer to an update proves it, and no look shows it.
            act="create",
        )
        for status, source in ((0, _PROXY), (403, _SCOPES), (404, _LIST), (429, _PROXY), (502, _PROXY))
    ),
)
