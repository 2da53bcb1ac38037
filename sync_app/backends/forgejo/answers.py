"""What answers of Forgejo and Gitea prove about a write (their API documents, and the pages named)."""

from typing import Final

from sync_app.backends.answers import Proof, Request, VendorAnswer, answer_row
from sync_app.errors import (
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
_AUTHENTICATION: Final = "API usage, Authentication"
ANSWERS: Final[tuple[VendorAnswer, ...]] = (
    answer_row(400, ": no valid name, or data that is too long", RequestRefused, _WRITE),
    answer_row(401, ": the token is unknown or expired", CredentialsRejected, _AUTHENTICATION),
    answer_row(403, ": the scope or the user's role does not allow it", PermissionMissing, _SCOPES),
    answer_row(404, ": it is not permitted, where the place is listed", PermissionMissing, _WRITE),
    answer_row(413, ": the body is too large", RequestRefused, _PROXY),
    answer_row(422, ": the body is not valid, such as empty data", RequestRefused, _WRITE),
    answer_row(423, ": the repository is archived", RequestRefused, "API, responses, repoArchivedError"),
    answer_row(
        429,
        " with Retry-After",
        TargetBusy,
        "Additional HTTP Status Codes (RFC 6585), 4, of a proxy before it",
        headers={"Retry-After": "1"},
    ),
    answer_row(500, "", TargetBusy, _WRITE, proves=Proof.UNKNOWN),
    *(answer_row(status, "", TargetBusy, _PROXY, proves=Proof.UNKNOWN) for status in (502, 503, 504)),
    answer_row(0, "", TargetUnreachable, _PROXY, proves=Proof.UNKNOWN),
    answer_row(401, "", CredentialsRejected, _AUTHENTICATION, Request.LOOK),
    answer_row(403, "", PermissionMissing, _SCOPES, Request.LOOK),
    answer_row(404, ": no such place, or not for this token", MountMissing, _LIST, Request.LOOK),
    answer_row(500, "", TargetBusy, _LIST, Request.LOOK),
    # The answer to an update proves it, and no look shows it.
    *(
        answer_row(status, "", OutcomeUnknown, source, Request.LOOK_AFTER, Proof.UNKNOWN, act="create")
        for status, source in ((0, _PROXY), (403, _SCOPES), (404, _LIST), (429, _PROXY), (502, _PROXY))
    ),
)
