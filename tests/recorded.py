"""What each act leaves in the trail, by route or page and method, and the way to see that it did.

An act declares what it records; the rest of the table is written by hand, as those of the rights are. What has
no entry fails, and so does an entry that says more or less than what is recorded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import BigIntegerField

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.integrity.row_state import names_rows
from audit_app.models import AuditEvent, RefusalCount
from core.db.prepared import Argument, PreparedQuery
from secrets_app.tests.kept import VALUE
from tests.acts import pages, routes

_READS: Final = frozenset({Action.SECRET_REVEAL, Action.SECRET_EXPORT, Action.SECRET_COMPARE})
# What Keeper does itself on the way to what somebody asked for.
_OWN: Final = frozenset(
    {
        Action.STREAM_OPEN,
        Action.DATA_KEY_CREATE,
        Action.SECRET_ROTATE,
        Action.ROTATION_CONNECT,
        Action.ROTATION_STEP,
    }
)


@dataclass(frozen=True)
class Nothing:
    """Why an act that is carried out leaves no event."""

    reason: str


Expected = Action | Nothing
_NOT_DELETED: Final = Nothing("it is not deleted; see environments_app/tests/environments/test_deletion.py")
_GENERATES: Final = Nothing("a value that nobody has stored is nobody's secret yet")
_NO_DECOY: Final = Nothing("it is no decoy here; see tests/access/test_decoys.py")
_UNGUARDED: Final = Nothing("it is not guarded here; see secrets_app/tests/services/test_guarded.py")
_NO_RELEASE: Final = Nothing("no program is released here; see tests/access/test_program_releases.py")
_REBUILT: Final = Nothing(
    "no cluster was rebuilt here; one is confirmed in sync_app/tests/applying/ownership/test_another_system.py"
)
# By route; all other methods than GET, and what is read by GET besides values.
API: Final[dict[tuple[str, str], Expected]] = {
    **{(name, "POST"): act.recorded for name, _, act in routes()},
    ("api-device-authorization", "POST"): Nothing("what waits for its person opens nothing"),
    ("api-device-token", "POST"): Nothing("no sign-in has this code; the approval of one is recorded"),
    ("api-loopback-token", "POST"): Nothing("no sign-in has this code; the approval of one is recorded"),
    ("api-current-token", "DELETE"): Nothing(
        "no caller here has the token of a person or a workload; see tests/people/test_personal_tokens.py"
    ),
    ("api-events", "GET"): Action.TRAIL_VIEW,
    ("api-event-items", "GET"): Action.TRAIL_VIEW,
    ("api-secret-usage", "GET"): Action.TRAIL_VIEW,
    ("api-secret-impact", "GET"): Action.TRAIL_VIEW,
    ("api-trail-verify", "POST"): Action.TRAIL_VERIFY,
    ("api-report", "GET"): Action.REPORT_GENERATE,
    ("api-secrets-generate", "POST"): _GENERATES,
    ("api-secrets", "POST"): Action.SECRET_CREATE,
    ("api-secrets-bulk", "POST"): Action.SECRET_CREATE,
    ("api-secret", "PUT"): Action.SECRET_UPDATE,
    ("api-secret", "PATCH"): Action.SECRET_UPDATE,
    ("api-secret", "DELETE"): Action.SECRET_DELETE,
    ("api-named-secret", "PUT"): Action.SECRET_UPDATE,
    ("api-named-secret", "DELETE"): Action.SECRET_DELETE,
    ("api-compare", "GET"): Action.SECRET_COMPARE,
    ("api-import", "POST"): Action.SECRET_IMPORT,
    ("api-environments", "POST"): Action.ENVIRONMENT_CREATE,
    ("api-environment", "PATCH"): Action.ENVIRONMENT_UPDATE,
    ("api-environment", "DELETE"): Action.ENVIRONMENT_DELETE,
    ("api-environment-restore", "POST"): _NOT_DELETED,
    ("api-members", "POST"): Action.MEMBER_GRANT,
    ("api-member", "PATCH"): Action.MEMBER_CHANGE,
    ("api-member", "DELETE"): Action.MEMBER_REVOKE,
    ("api-tokens", "POST"): Action.TOKEN_ISSUE,
    ("api-token", "PATCH"): Action.TOKEN_CHANGE,
    ("api-token", "DELETE"): Action.TOKEN_REVOKE,
    ("api-token-rotate", "POST"): Action.TOKEN_ISSUE,
    ("api-trusts", "POST"): Action.TRUST_CREATE,
    ("api-trust", "PATCH"): Action.TRUST_CHANGE,
    ("api-trust", "DELETE"): Action.TRUST_DELETE,
    ("api-trust-fetch-keys", "POST"): Action.TRUST_CHANGE,
    ("api-trust-test", "POST"): Action.TRUST_TEST,
    ("api-workload-sign-in", "POST"): Action.TRUST_SIGN_IN,
    ("api-suspended-account", "POST"): Action.ACCESS_CONFIRM,
    ("api-suspended-mapping", "POST"): Action.ACCESS_CONFIRM,
    ("api-releases", "POST"): _NO_RELEASE,
    ("api-release", "DELETE"): Action.SECRET_RELEASE_END,
    ("api-recipients", "POST"): Action.NOTIFICATION_CREATE,
    ("api-recipient", "DELETE"): Action.NOTIFICATION_REMOVE,
    ("api-webhooks", "POST"): Action.NOTIFICATION_CREATE,
    ("api-webhook", "DELETE"): Action.NOTIFICATION_REMOVE,
    ("api-targets", "POST"): Action.TARGET_CREATE,
    ("api-targets-test", "POST"): Action.TARGET_TEST,
    ("api-target", "PATCH"): Action.TARGET_CHANGE,
    ("api-target", "DELETE"): Action.TARGET_REMOVE,
    ("api-target-system", "POST"): _REBUILT,
    ("api-consents", "POST"): Action.CONSENT_GIVE,
    ("api-consent", "DELETE"): Action.CONSENT_WITHDRAW,
    ("api-plan-members", "POST"): Action.SECRET_REVEAL,
    ("api-rotation-policies", "POST"): Action.ROTATION_CREATE,
    ("api-rotation-policy", "PATCH"): Action.ROTATION_CHANGE,
    ("api-rotation-policy", "DELETE"): Action.ROTATION_REMOVE,
    ("api-secret-unguard", "POST"): _UNGUARDED,
    ("api-secret-end-decoy", "POST"): _NO_DECOY,
    ("api-secret-request-read", "POST"): _UNGUARDED,
    ("api-rotation-retire", "POST"): Nothing(
        "no retirement has stopped here; one is carried out in sync_app/tests/rotation/emergency/test_left_behind.py"
    ),
    ("api-acknowledge", "POST"): Action.ROTATION_ACKNOWLEDGE,
    ("api-acknowledge", "DELETE"): Nothing(
        "nobody has confirmed anything here; a word is taken back in sync_app/tests/rotation/policies/test_api.py"
    ),
    ("api-approval", "PATCH"): Action.APPROVAL_ASK,
    ("api-approval-comments", "POST"): Action.APPROVAL_COMMENT,
    ("api-approval-approve", "POST"): Action.APPROVAL_DECIDE,
    ("api-approval-carry-out", "POST"): Action.APPROVAL_CARRY_OUT,
    ("api-access-requests", "POST"): Action.ACCESS_ASK,
    ("api-emergency-reads", "GET"): Action.TRAIL_VIEW,
    ("api-emergency-review", "POST"): Nothing(
        "no such read is here; see secrets_app/tests/services/test_emergency.py"
    ),
    ("api-reviews", "POST"): Action.REVIEW_START,
    ("api-review-decide", "POST"): Action.REVIEW_DECIDE,
    ("api-exposure", "POST"): Action.ROTATION_RUN,
    ("api-leaked", "POST"): Action.LEAK_SEARCH,
    ("api-offboarding", "GET"): Action.TRAIL_VIEW,
    ("api-offboarding", "POST"): Action.USER_OFFBOARD,
    ("api-user-hand-over", "POST"): Nothing("there is no SCIM client; see tests/people/test_hand_over.py"),
    ("api-departure", "GET"): Action.TRAIL_VIEW,
    ("api-departure-close", "POST"): Action.USER_OFFBOARD,
    ("api-departure-continue", "POST"): Action.USER_OFFBOARD,
    ("api-departure-outlet-keep", "POST"): Nothing(
        "there is none of this id; see tests/people/test_departures.py"
    ),
    ("api-departure-outlet-mark", "POST"): Nothing(
        "there is none of this id; see tests/people/test_departures.py"
    ),
    ("api-departure-value-keep", "POST"): Nothing(
        "only people with a role decide; see tests/people/test_departures.py"
    ),
    ("api-departure-value-assign", "POST"): Action.USER_OFFBOARD,
    ("api-admin-tokens", "POST"): Action.TOKEN_ISSUE,
    ("api-admin-token", "PATCH"): Action.TOKEN_CHANGE,
    ("api-admin-token", "DELETE"): Action.TOKEN_REVOKE,
    ("api-admin-token-rotate", "POST"): Action.TOKEN_ISSUE,
}
# By page; all that take POST, and what is read by GET besides values.
PAGES: Final[dict[tuple[str, str], Expected]] = {
    **{(name, "POST"): act.recorded for name, _, act in pages()},
    ("activity", "GET"): Action.TRAIL_VIEW,
    ("emergency-reads", "GET"): Action.TRAIL_VIEW,
    ("activity-event", "GET"): Action.TRAIL_VIEW,
    ("secret-usage", "GET"): Action.TRAIL_VIEW,
    ("activity-export", "GET"): Action.TRAIL_EXPORT,
    ("offboarding", "GET"): Action.TRAIL_VIEW,
    ("departure", "GET"): Action.TRAIL_VIEW,
    ("departure-close", "POST"): Action.USER_OFFBOARD,
    ("departure-continue", "POST"): Action.USER_OFFBOARD,
    ("departure-outlet-mark", "POST"): Nothing(
        "there is none of this id; see tests/people/test_departures.py"
    ),
    ("departure-outlet-keep", "POST"): Nothing(
        "there is none of this id; see tests/people/test_departures.py"
    ),
    ("departure-value-keep", "POST"): Action.USER_OFFBOARD,
    ("departure-value-assign", "POST"): Action.USER_OFFBOARD,
    ("report-detail", "GET"): Action.REPORT_GENERATE,
    ("report-file", "GET"): Action.REPORT_GENERATE,
    ("personal-token-issue", "POST"): Action.TOKEN_ISSUE,
    ("personal-token-revoke", "POST"): Nothing(
        "there is none of this id; see tests/people/test_personal_tokens.py"
    ),
    ("device", "POST"): Nothing("it shows which client waits"),
    ("device-approve", "POST"): Nothing("none waits here; see environments_app/tests/tokens/test_device.py"),
    ("device-deny", "POST"): Nothing("a sign-in that is denied opened nothing"),
    ("loopback-answer", "POST"): Nothing(
        "no program asks here; see environments_app/tests/tokens/test_loopback.py"
    ),
    ("secret-generate", "POST"): _GENERATES,
    ("secret-matrix", "POST"): Action.SECRET_COMPARE,
    ("secret-row", "POST"): Action.SECRET_CREATE,
    ("environment-clone", "POST"): Action.ENVIRONMENT_CREATE,
    ("release-new", "POST"): _NO_RELEASE,
    ("release-end", "POST"): Action.SECRET_RELEASE_END,
    ("secret-unguard", "POST"): _UNGUARDED,
    ("secret-emergency-read", "POST"): _UNGUARDED,
    ("emergency-close", "POST"): Nothing(
        "no such read is here; see secrets_app/tests/services/test_emergency.py"
    ),
    ("secret-end-decoy", "POST"): _NO_DECOY,
    ("secret-request-read", "POST"): _UNGUARDED,
    ("environment-delete", "POST"): Action.ENVIRONMENT_DELETE,
    ("environment-restore", "POST"): _NOT_DELETED,
    ("secret-star", "POST"): Nothing("which secrets a person keeps at hand is theirs"),
    ("secret-check", "POST"): Nothing("it checks a text that nobody has stored"),
    ("secret-new", "POST"): Action.SECRET_CREATE,
    ("secret-import", "POST"): Action.SECRET_IMPORT,
    ("secret-export", "POST"): Action.SECRET_EXPORT,
    ("secret-bulk", "POST"): Action.SECRET_DELETE,
    ("secret-diff", "POST"): Action.SECRET_REVEAL,
    ("secret-share", "POST"): Action.SECRET_SHARE,
    ("share-revoke", "POST"): Action.SECRET_SHARE_REVOKE,
    ("share", "POST"): Action.SECRET_SHARE_OPEN,
    ("share-outside", "POST"): Action.SECRET_SHARE_OPEN,
    ("secret-reveal", "POST"): Action.SECRET_REVEAL,
    ("secret-copy", "POST"): Action.SECRET_REVEAL,
    ("secret-edit", "POST"): Action.SECRET_UPDATE,
    ("secret-rename", "POST"): Action.SECRET_RENAME,
    ("secret-duplicate", "POST"): Action.SECRET_COPY,
    ("sweep-start", "POST"): Action.INTEGRITY_SWEEP,
    ("backups", "POST"): Action.BACKUP_REQUEST,
    ("restore-release", "POST"): Action.RESTORE_RELEASE,
    ("sign-in", "POST"): Action.SIGN_IN,
    ("sign-in-code", "POST"): Action.SIGN_IN,
    ("sign-in-passkey", "POST"): Action.SIGN_IN,
    ("sign-out", "POST"): Action.SIGN_OUT,
    ("session-state", "POST"): Nothing("it keeps one's own session open, as any page does"),
    ("oidc-back-channel-logout", "POST"): Nothing(
        "without a provider it is not there; what it ends is recorded: tests/people/test_oidc.py"
    ),
    ("saml-acs", "POST"): Nothing("the page after it signs in, and records it: tests/people/test_saml.py"),
    ("password-change", "POST"): Action.USER_CHANGE,
    ("session-end", "POST"): Action.SESSION_END,
    ("sessions-end-others", "POST"): Action.SESSION_END,
    ("name-change", "POST"): Action.USER_CHANGE,
    ("time-zone-change", "POST"): Nothing("how a person's own pages look is theirs"),
    ("person-add", "POST"): Action.USER_CREATE,
    ("person-update", "POST"): Action.USER_CHANGE,
    ("person-enable", "POST"): Nothing("the account is enabled here already"),
    ("person-reset-mfa", "POST"): Nothing("it has no second factor here"),
    ("activity-view-save", "POST"): Nothing("how a person's own pages look is theirs"),
    ("activity-view-remove", "POST"): Nothing("how a person's own pages look is theirs"),
    ("person-invite", "POST"): Nothing(
        "there is no mail server here: environments_app/tests/users/test_password_links.py"
    ),
    ("person-invite-withdraw", "POST"): Nothing("there is no invitation here"),
    ("password-forgotten", "POST"): Nothing("a worker records the link that it sends"),
    ("password-choose", "POST"): Nothing(
        "this link is unknown: environments_app/tests/users/test_password_links.py"
    ),
    ("password-reset-choose", "POST"): Action.USER_CHANGE,
    ("confirm", "POST"): Action.SESSION_CONFIRM,
    ("digest-choose", "POST"): Action.NOTIFICATION_CHOOSE,
    ("second-factor-start", "POST"): Action.SECOND_FACTOR_CHANGE,
    ("second-factor-enrol", "POST"): Action.SECOND_FACTOR_CHANGE,
    ("second-factor-codes", "POST"): Action.SECOND_FACTOR_CHANGE,
    ("second-factor-remove", "POST"): Action.SECOND_FACTOR_CHANGE,
    ("passkey-start", "POST"): Nothing("it shows a challenge; nothing is stored"),
    ("passkey-register", "POST"): Action.SECOND_FACTOR_CHANGE,
    ("passkey-remove", "POST"): Action.SECOND_FACTOR_CHANGE,
    ("sign-in-connect", "POST"): Nothing("no provider vouched: tests/people/test_connected_sign_ins.py"),
    ("sign-in-disconnect", "POST"): Nothing("none is connected: tests/people/test_connected_sign_ins.py"),
    ("environment-new", "POST"): Action.ENVIRONMENT_CREATE,
    ("environment-update", "POST"): Action.ENVIRONMENT_UPDATE,
    ("access-confirm", "POST"): Action.ACCESS_CONFIRM,
    ("mapping-confirm", "POST"): Action.ACCESS_CONFIRM,
    ("member-grant", "POST"): Action.MEMBER_GRANT,
    ("member-change", "POST"): Action.MEMBER_CHANGE,
    ("trust-new", "POST"): Action.TRUST_CREATE,
    ("trust-change", "POST"): Action.TRUST_CHANGE,
    ("trust-toggle", "POST"): Action.TRUST_CHANGE,
    ("trust-test", "POST"): Action.TRUST_TEST,
    ("token-issue", "POST"): Action.TOKEN_ISSUE,
    ("token-narrow", "POST"): Action.TOKEN_CHANGE,
    ("token-rotate", "POST"): Action.TOKEN_ISSUE,
    ("admin-token-issue", "POST"): Action.TOKEN_ISSUE,
    ("admin-token-narrow", "POST"): Action.TOKEN_CHANGE,
    ("admin-token-rotate", "POST"): Action.TOKEN_ISSUE,
    ("approval-approve", "POST"): Action.APPROVAL_DECIDE,
    ("approval-carry-out", "POST"): Action.APPROVAL_CARRY_OUT,
    ("review-new", "POST"): Action.REVIEW_START,
    ("review-decide", "POST"): Action.REVIEW_DECIDE,
    ("access-request-new", "POST"): Action.ACCESS_ASK,
    ("access-request-grant", "POST"): Action.MEMBER_GRANT,
    ("exposure", "POST"): Action.ROTATION_RUN,
    ("leaked", "POST"): Action.LEAK_SEARCH,
    ("sync-pause", "POST"): Action.TARGET_PAUSE,
    ("sync-resume", "POST"): Action.TARGET_PAUSE,
    ("target-new", "POST"): Action.TARGET_CREATE,
    ("migration-new", "POST"): Action.MIGRATION_PLAN,
    ("migration-act", "POST"): Action.MIGRATION_STOP,
    ("target-rules", "POST"): Action.TARGET_CHANGE,
    ("target-credentials", "POST"): Action.TARGET_CHANGE,
    ("target-system", "POST"): _REBUILT,
    ("target-test", "POST"): Action.TARGET_TEST,
    ("target-plan", "POST"): Action.TARGET_REQUEST,
    ("target-sync", "POST"): Action.TARGET_REQUEST,
    ("target-check", "POST"): Action.TARGET_REQUEST,
    ("target-adopt", "POST"): Action.TARGET_REQUEST,
    ("target-disconnect", "POST"): Action.TARGET_REQUEST,
    ("plan-apply", "POST"): Action.TARGET_APPLY,
    ("plan-again", "POST"): Action.TARGET_REQUEST,
    ("plan-item", "POST"): Action.TARGET_RESOLVE,
    ("plan-item-members", "POST"): Action.SECRET_REVEAL,
    ("notices-seen", "POST"): Nothing("what a person has seen of their notices is theirs"),
    ("first-steps-hide", "POST"): Nothing("how a person's own page looks is theirs"),
    ("consent-give", "POST"): Action.CONSENT_GIVE,
    ("consent-withdraw", "POST"): Action.CONSENT_WITHDRAW,
    ("rotation-new", "POST"): Action.ROTATION_CREATE,
    ("rotation-rules", "POST"): Action.ROTATION_CHANGE,
    ("rotation-connection", "POST"): Action.ROTATION_CHANGE,
    ("rotation-dry-run", "POST"): Action.ROTATION_CONNECT,
    ("rotation-logins", "POST"): Action.ROTATION_CONNECT,
    ("rotation-align", "POST"): Action.ROTATION_CONNECT,
    ("rotation-act", "POST"): Action.ROTATION_RESOLVE,
    ("recipient-add", "POST"): Action.NOTIFICATION_CREATE,
    ("webhook-add", "POST"): Action.NOTIFICATION_CREATE,
}
# What the tables of the rights only refuse, or carry out where nothing is to do; done elsewhere.
DRIVEN: Final = frozenset(
    {
        ("api-workload-sign-in", "POST"),
        ("api-suspended-account", "POST"),
        ("api-suspended-mapping", "POST"),
        ("api-targets", "POST"),
        ("api-targets-test", "POST"),
        ("api-target-credentials", "POST"),
        ("api-consents", "POST"),
        ("api-approval", "PATCH"),
        ("api-approval-withdraw", "POST"),
        ("api-approval-carry-out", "POST"),
        ("api-access-request-withdraw", "POST"),
        ("access-request-withdraw", "POST"),
        ("api-review-decide", "POST"),
        ("review-decide", "POST"),
        ("api-review-sign", "POST"),
        ("review-sign", "POST"),
        ("api-exposure", "POST"),
        ("exposure", "POST"),
        ("secret-matrix", "POST"),
        ("secret-row", "POST"),
        ("secret-new", "POST"),
        ("secret-import", "POST"),
        ("secret-export", "POST"),
        ("secret-share", "POST"),
        ("share-revoke", "POST"),
        ("share", "POST"),
        ("share-outside", "POST"),
        ("backups", "POST"),
        ("restore-release", "POST"),
        ("sign-in", "POST"),
        ("sign-in-code", "POST"),
        ("sign-in-passkey", "POST"),
        ("sign-out", "POST"),
        ("session-end", "POST"),
        ("confirm", "POST"),
        ("second-factor-enrol", "POST"),
        ("second-factor-codes", "POST"),
        ("second-factor-remove", "POST"),
        ("passkey-register", "POST"),
        ("passkey-remove", "POST"),
        ("access-confirm", "POST"),
        ("approval-withdraw", "POST"),
        ("approval-explain", "POST"),
        ("approval-carry-out", "POST"),
        ("target-new", "POST"),
        ("migration-new", "POST"),
        ("migration-act", "POST"),
        ("target-credentials", "POST"),
        ("target-adopt", "POST"),
        ("target-disconnect", "POST"),
        ("plan-item-members", "POST"),
        ("api-plan-members", "POST"),
        ("consent-give", "POST"),
        ("rotation-new", "POST"),
        ("rotation-rules", "POST"),
        ("rotation-connection", "POST"),
    }
)
# What these name is not there at all, for anybody: nobody is refused something.
ABSENT: Final = {
    "emergency-read",
    "emergency-close",
    "api-emergency-read",
    "api-emergency-review",
    "share",
    "share-revoke",
    "api-environment-restore",
    "environment-restore",
    "migration-act",
    "migration-detail",
    "restore-release",
    "api-exposure",
    "api-device-token",
    "api-loopback-token",
}


@dataclass
class Seen:
    """What an act left in the trail, and how many refusals of strangers it was counted as."""

    events: list[AuditEvent] = field(default_factory=list)
    refusals: int = 0
    # What the integrity checks say of the rows that the events name.
    called_old: list[Problem] = field(default_factory=list)

    def of(self, outcome: Outcome) -> set[str]:
        """Return the actions of the events with this outcome."""
        return {event.action for event in self.events if event.outcome == outcome}


# An approval applies the act as its requester, in the request of the approver.
_APPLIES: Final = frozenset({"api-approval-approve", "approval-approve"})


# Asked around each of thousands of requests: Django composes them once.
_AFTER: Final = PreparedQuery(
    lambda: AuditEvent.objects.filter(id__gt=Argument(0, BigIntegerField())).order_by("id")
)
_NEWEST: Final = PreparedQuery(lambda: AuditEvent.objects.order_by("-id").values_list("id")[:1])
_COUNTS: Final = PreparedQuery(lambda: RefusalCount.objects.order_by().values_list("count"))


@contextmanager
def watching() -> Iterator[Seen]:
    """Give what is appended to the trail until the end of the block."""
    (newest,) = _NEWEST.first() or (0,)
    before, seen = _refusals(), Seen()
    yield seen
    seen.events = _AFTER.all(newest)
    seen.refusals = _refusals() - before
    told = " ".join(event.details for event in seen.events if names_rows(event.details))
    seen.called_old = [found for found in run_checks() if found.object[-37:-1] in told] if told else []


def flaws(
    seen: Seen,
    response: Any,
    text: str,
    *,
    name: str,
    actor: str | None,
    expected: Expected | None,
    idle: bool = False,
) -> list[str]:
    """Return what is wrong with what a request left that was answered with `text`.

    `actor` is None for a stranger, `expected` for what only looks; `idle` says that there may have
    been nothing to do.
    """
    found = [f"{event} names nothing" for event in seen.events if not event.object_kind]
    found += [f"its own check does not know the act: {problem}" for problem in seen.called_old]
    for event in seen.events:
        by = (event.actor_name, event.address, event.request_id)
        if name in _APPLIES and event.request_id == response["X-Request-ID"]:
            continue
        if event.action not in _OWN and actor and by != (actor, "127.0.0.1", response["X-Request-ID"]):
            found.append(f"{event} is by {by}")
    if response.status_code == 401:
        return found if seen.refusals else [*found, "a stranger was refused, and nobody counted"]
    refused = response.status_code == 403 or (response.status_code == 404 and name not in ABSENT)
    if refused and actor and not seen.of(Outcome.DENIED):
        found.append("it was refused, and no event says so")
    if VALUE in text and not seen.of(Outcome.ALLOWED) & _READS:
        found.append("a value was shown, and no event says so")
    # A look is recorded also where there was nothing to do.
    acted = any(event.action != Action.TRAIL_VIEW for event in seen.events)
    if response.status_code < 400 and actor and (acted or not idle):
        found += _success(seen, expected)
    return found


def _success(seen: Seen, expected: Expected | None) -> list[str]:
    done = seen.of(Outcome.ALLOWED) | seen.of(Outcome.FAILED)
    if isinstance(expected, Action):
        # A page may be answered that tells what was refused.
        return (
            [] if expected in done | seen.of(Outcome.DENIED) else [f"it left {sorted(done)}, not {expected}"]
        )
    written = done - {str(action) for action in (*_READS, *_OWN)}
    return [f"it left {sorted(written)}, which the table does not name"] if written else []


def _refusals() -> int:
    return sum(count for (count,) in _COUNTS.all())
