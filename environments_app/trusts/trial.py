"""A trial of a sample token: which rules of a trust it meets, without signing in."""

import time
from typing import NamedTuple

from django.db import transaction

from audit_app.crypto.canonical_json import Json
from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal, require
from environments_app.models import Trust
from environments_app.trusts.definition import rules_of, source_of
from environments_app.trusts.jwt.document import BadJwt, parse_jwt
from environments_app.trusts.jwt.rules import Check, examine
from environments_app.trusts.key_source import find_key
from environments_app.trusts.sign_in import sign_in_checks


class Trial(NamedTuple):
    """What came of a trial: why the text is no token, or each rule in turn."""

    problem: str
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether a workload with this token could sign in now from a network of the trust."""
        return not self.problem and all(check.passed for check in self.checks)


def try_token(*, actor: Principal, trust: Trust, jwt: str) -> Trial:
    """Return which rules of a trust a sample token meets; it is stored nowhere, and uses nothing up.

    Raises Invisible or Forbidden, and KeysUnavailable, which names the cause.
    """
    require(actor=actor, action=Action.TRUST_TEST, environment=trust.environment)
    trial = _tried(trust, jwt.strip())
    checks = [check.rule for check in trial.checks if not check.passed]
    failed: list[Json] = [trial.problem] if trial.problem else [*checks]
    with transaction.atomic():
        record(
            actor=actor,
            action=Action.TRUST_TEST,
            stream=environment_stream(trust.environment.uuid),
            object=AuditObject("trust", trust.uuid, trust.name),
            details={"passed": trial.passed, "failed": failed},
        )
    return trial


def _tried(trust: Trust, text: str) -> Trial:
    try:
        jwt = parse_jwt(text)
    except BadJwt as error:
        return Trial(error.reason, [])
    key = find_key(source_of(trust), algorithm=trust.algorithm, kid=jwt.key_id) if jwt.key_id else None
    return Trial("", [*examine(jwt, rules_of(trust), key, now=time.time()), *sign_in_checks(trust, jwt)])
