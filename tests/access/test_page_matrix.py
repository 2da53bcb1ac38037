"""Who may open which page: each page and role, against one table, as test_access_matrix.py has the API's."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import pytest
from django.urls import get_resolver, reverse

from audit_app.events.actions import Action, Outcome
from environments_app.tests.cast import PASSWORD
from secrets_app.tests.kept import VALUE
from tests import recorded
from tests.access.access_scene import (
    ACTORS,
    PEOPLE,
    ROLES,
    Scene,
    browser_of,
    patterns,
    shared_scene,
    shown,
    stage,
    undone,
)
from tests.access.act_rules import ACTS
from tests.acts import pages

__all__ = ["shared_scene", "stage"]


@dataclass(frozen=True)
class PageRule:
    """Who may open a page: the least role in the environment, what an administrator gets."""

    least: str
    ok: int = 200
    admin: int = 403
    method: str = "GET"
    form: dict[str, Any] | None = None


RULES: Final = {
    "direction": "push",
    "conflict": "ask",
    "deletion": "never",
    "budget_number": "1",
    "budget_percent": "1",
    "interval_seconds": "0",
}
# Enter in the address bar, where the answer to a form stands: it leads to the page of the form.
LEADS_BACK: Final = PageRule("anyone", 302, admin=302)
NEW_PASSWORD: Final = {"current": PASSWORD, "password": f"{PASSWORD}-2", "again": f"{PASSWORD}-2"}
PAGES: Final[dict[str, tuple[PageRule, ...]]] = {
    "dashboard": (PageRule("anyone", admin=200),),
    "activity": (PageRule("anyone", admin=200),),
    "activity-charts": (PageRule("anyone", admin=200),),
    "activity-event": (PageRule("its manager", admin=200),),
    "activity-export": (PageRule("anyone", admin=200),),
    "secret-list": (PageRule("anyone", admin=200),),
    "secret-new": (PageRule("anyone", admin=200),),
    "secret-generate": (PageRule("anyone", admin=200, method="POST", form={"kind": "password", "lowercase": "on"}),),
    "secret-matrix": (PageRule("anyone", admin=200),),
    # Without a name it leads to the matrix; each cell is written by who may write it.
    "secret-row": (PageRule("anyone", 302, admin=302),),
    "secret-check": (PageRule("anyone", admin=200, method="POST", form={"secret_type": "JSON", "value": "{}"}),),
    "secret-search": (PageRule("anyone", admin=200),),
    # It does what one may to each of the chosen.
    "secret-bulk": (PageRule("anyone", admin=200, method="POST", form={"act": "delete", "step": "apply", "pick": "{pick}"}),),
    "secret-diff": (PageRule("viewer", admin=200), PageRule("reader", method="POST", form={"old": "1", "new": "1"})),
    "secret-share": (PageRule("reader"),),
    # Both answer about a share that is not there.
    "share-revoke": (PageRule("absent", admin=404, method="POST"),),
    "share": (PageRule("absent", admin=404),),
    # They offer the environments in which one may, and take no other.
    "secret-import": (PageRule("anyone", admin=200),),
    "environment-clone": (PageRule("nobody", admin=200), PageRule("nobody", 302, admin=302, method="POST", form={"name": "{fresh}"})),
    "environment-delete": (PageRule("manager", admin=200), PageRule("manager", 302, admin=302, method="POST", form={"typed": "{name}"})),
    # What one may restore is all that it shows; it is not deleted.
    "deleted-environments": (PageRule("anyone", admin=200),),
    "environment-restore": (PageRule("absent", admin=404, method="POST"),),
    "moved-compare": (PageRule("anyone", 302, admin=302),),
    "moved-trail": (PageRule("anyone", 302, admin=302),),
    "moved-table": (PageRule("anyone", 302, admin=302),),
    "secret-export": (PageRule("anyone", admin=200),),
    "offboarding": (PageRule("nobody", admin=200),),
    "departures": (PageRule("anyone", admin=200),),
    "departure": (PageRule("editor", admin=200),),
    "departure-close": (PageRule("nobody", admin=302, method="POST", form={"reason": "enough"}),),
    "departure-continue": (PageRule("nobody", admin=302, method="POST"),),
    # There is none of this id.
    "departure-outlet-mark": (PageRule("editor", 404, admin=404, method="POST"),),
    "departure-outlet-keep": (PageRule("editor", 404, admin=404, method="POST", form={"reason": "enough"}),),
    "departure-value-keep": (PageRule("editor", 302, method="POST", form={"reason": "enough"}),),
    "departure-value-assign": (PageRule("manager", 302, admin=302, method="POST", form={"username": "alice"}),),
    "activity-view-save": (PageRule("anyone", 302, admin=302, method="POST", form={"name": "mine", "query": "period=7d"}),),
    # There is none of this id.
    "activity-view-remove": (PageRule("anyone", 302, admin=302, method="POST"),),
    "people": (PageRule("nobody", admin=200),),
    "person-add": (LEADS_BACK, PageRule("nobody", 200, admin=200, method="POST", form={"username": "{fresh}", "role": "user", "sign_in": "sso"})),
    "password-reset-choose": (PageRule("anyone", 302, admin=302, method="POST"),),
    "person": (PageRule("nobody", admin=200),),
    "person-update": (PageRule("nobody", admin=302, method="POST", form={"role": "user", "display_name": "New"}),),
    "secret-detail": (PageRule("viewer", admin=200),),
    # Who is no manager sees their own use alone.
    "secret-usage": (PageRule("viewer", admin=200),),
    "secret-reveal": (PageRule("reader", method="POST"),),
    # It is not guarded; and there is no emergency read.
    "secret-emergency-read": (PageRule("reader", 302, method="POST", form={"reason": "x" * 20}),),
    "emergency-reads": (PageRule("anyone", admin=200),),
    "emergency-read": (PageRule("absent", admin=404),),
    "emergency-close": (PageRule("absent", admin=404, method="POST"),),
    "secret-copy": (PageRule("reader", method="POST"),),
    "secret-edit": (PageRule("editor", 302, method="POST", form={"name": "part/key", "environment": "{environment}", "secret_type": "TEXT", "value": "new"}),),
    "secret-star": (PageRule("viewer", admin=200, method="POST", form={"starred": "1"}),),
    "secret-rename": (PageRule("editor"), PageRule("editor", 302, method="POST", form={"name": "part/renamed"})),
    "secret-duplicate": (PageRule("editor"), PageRule("editor", 302, method="POST", form={"name": "part/copied"})),
    # Managers get those of their environments; whoever manages none as a whole is refused.
    "notices": (PageRule("anyone", admin=200),),
    "notices-seen": (PageRule("anyone", 302, admin=302, method="POST"),),
    "digest-choose": (PageRule("anyone", 302, admin=302, method="POST"),),
    "first-steps-hide": (PageRule("anyone", 302, admin=302, method="POST"),),
    "reports": (PageRule("manager of any", admin=200),),
    "report-detail": (PageRule("manager of any", admin=200),),
    "report-file": (PageRule("manager of any", admin=200),),
    "integrity": (PageRule("nobody", admin=200),),
    "health": (PageRule("nobody", admin=200),),
    "sweep-start": (PageRule("nobody", 302, admin=302, method="POST"),),
    "backups": (PageRule("nobody", admin=200), PageRule("nobody", 302, admin=302, method="POST")),
    "restore-release": (PageRule("nobody", 302, admin=404, method="POST"),),
    "profile": (PageRule("anyone", admin=200),),
    # They carry no form of an environment: each is about oneself.
    "password-change": (PageRule("anyone", 302, admin=302, method="POST", form=NEW_PASSWORD),),
    "session-end": (PageRule("anyone", 302, admin=302, method="POST"),),
    "sessions-end-others": (PageRule("anyone", 302, admin=302, method="POST"),),
    "time-zone-change": (PageRule("anyone", 302, admin=302, method="POST", form={"time_zone": "Europe/Berlin"}),),
    "name-change": (PageRule("anyone", 302, admin=302, method="POST", form={"display_name": "New"}),),
    "personal-token-issue": (LEADS_BACK, PageRule("anyone", admin=200, method="POST", form={"name": "laptop", "hours": "12"})),
    # There is none of this id.
    "personal-token-revoke": (PageRule("anyone", 302, admin=302, method="POST"),),
    "device": (PageRule("anyone", admin=200),),
    # Without the parameters of a program there is nothing to confirm.
    "loopback": (PageRule("anyone", 400, admin=400),),
    "loopback-answer": (PageRule("anyone", 400, admin=400, method="POST"),),
    # No sign-in waits under an empty code.
    "device-approve": (PageRule("anyone", 302, admin=302, method="POST"),),
    "device-deny": (PageRule("anyone", 302, admin=302, method="POST"),),
    "confirm": (PageRule("anyone", admin=200),),
    "signed-in": (PageRule("anyone", admin=200),),
    # People without a password are led back; the administrator has one.
    "second-factor": (PageRule("anyone", admin=200),),
    "second-factor-start": (PageRule("anyone", 302, admin=200, method="POST"),),
    "second-factor-enrol": (PageRule("anyone", 302, admin=302, method="POST"),),
    "second-factor-codes": (PageRule("anyone", 302, admin=302, method="POST"),),
    "second-factor-remove": (PageRule("anyone", 302, admin=302, method="POST"),),
    "passkey-start": (PageRule("anyone", 302, admin=302, method="POST"),),
    "passkey-register": (PageRule("anyone", 302, admin=302, method="POST"),),
    "passkey-remove": (PageRule("anyone", 302, admin=302, method="POST"),),
    "sign-in-connect": (PageRule("anyone", 302, admin=302), PageRule("anyone", 302, admin=302, method="POST")),
    "sign-in-disconnect": (PageRule("anyone", 302, admin=302, method="POST"),),
    "environment-list": (PageRule("anyone", admin=200),),
    "environment-new": (PageRule("nobody", 302, admin=302, method="POST", form={"name": "{fresh}", "colour": "blue"}),),
    "environment-detail": (PageRule("viewer", admin=200),),
    "environment-update": (LEADS_BACK, PageRule("manager", 302, admin=302, method="POST", form={"display_name": "New", "colour": "blue", "position": "1"})),
    "environment-access": (PageRule("manager", admin=200),),
    "access-confirm": (PageRule("manager", 302, method="POST"),),
    "mapping-confirm": (PageRule("manager", 302, method="POST"),),
    "member-grant": (LEADS_BACK, PageRule("manager", 302, admin=302, method="POST", form={"username": "newcomer", "role": "viewer"})),
    "member-change": (PageRule("manager", admin=200), PageRule("manager", 302, admin=302, method="POST", form={"role": "reader"})),
    "token-issue": (LEADS_BACK, PageRule("manager", 200, admin=200, method="POST", form={"name": "ci", "role": "viewer"})),
    "token-list": (PageRule("anyone", admin=200),),
    # Those of the installation are its administrators' alone.
    "admin-tokens": (PageRule("nobody", admin=200),),
    "admin-token-issue": (LEADS_BACK, PageRule("nobody", 200, admin=200, method="POST", form={"name": "ops"})),
    "admin-token-detail": (PageRule("nobody", admin=200),),
    "admin-token-narrow": (PageRule("nobody", 302, admin=302, method="POST", form={"cidrs": "10.0.0.0/8"}),),
    "admin-token-rotate": (PageRule("nobody", 200, admin=200, method="POST", form={"overlap_hours": "1"}),),
    "token-detail": (PageRule("manager", admin=200),),
    "token-narrow": (PageRule("manager", 302, admin=302, method="POST", form={"cidrs": "10.0.0.0/8"}),),
    "token-rotate": (PageRule("manager", 200, admin=200, method="POST", form={"overlap_hours": "1"}),),
    "trust-new": (
        PageRule("manager", admin=200),
        PageRule("manager", 302, admin=302, method="POST", form={"name": "{fresh}", "issuer": "https://issuer.test", "audience": "keeper", "claims": "sub = x", "role": "viewer", "algorithm": "RS256", "lifetime_minutes": "15", "max_age_minutes": "60"}),
    ),
    "trust-detail": (PageRule("manager", admin=200),),
    "trust-change": (PageRule("manager", 302, admin=302, method="POST", form={"name": "{fresh}", "issuer": "https://issuer.test", "audience": "keeper", "claims": "sub = x", "role": "viewer", "algorithm": "RS256", "lifetime_minutes": "15", "max_age_minutes": "60"}),),
    "trust-toggle": (PageRule("manager", 302, admin=302, method="POST"),),
    "trust-test": (PageRule("manager", admin=200, method="POST", form={"jwt": "x"}),),
    "release-new": (PageRule("manager"), PageRule("manager", 422, method="POST", form={"program": "token-1", "reads": "path", "path": "part"})),
    "release-end": (PageRule("manager", 302, admin=302, method="POST"),),
    "approval-list": (PageRule("anyone", admin=200),),
    "approval-detail": (PageRule("manager", admin=200),),
    "approval-approve": (PageRule("manager", 302, admin=302, method="POST"),),
    # Whoever asked does these, and nobody else.
    "approval-carry-out": (PageRule("another", 403, method="POST"),),
    "review-list": (PageRule("anyone", admin=200),),
    "review-new": (PageRule("nobody", admin=200), PageRule("nobody", 302, admin=302, method="POST", form={"name": "Q4", "environments": "{environment}", "days": "14"})),
    "review-detail": (PageRule("manager", admin=200),),
    # Nothing is chosen.
    "review-decide": (PageRule("manager", 302, admin=302, method="POST", form={"decision": "keep"}),),
    "access-request-new": (PageRule("anyone", admin=200), PageRule("anyone", 302, admin=302, method="POST", form={"environment": "nowhere", "role": "reader", "minutes": "60"})),
    "access-request-detail": (PageRule("manager", admin=200),),
    "access-request-grant": (PageRule("manager", 302, admin=302, method="POST", form={"role": "viewer"}),),
    "sync": (PageRule("anyone", admin=200),),
    "sync-overview": (PageRule("anyone", admin=200),),
    "sync-pause": (PageRule("nobody", 302, admin=302, method="POST"),),
    "sync-resume": (PageRule("nobody", 302, admin=302, method="POST"),),
    "target-new": (PageRule("anyone", admin=200),),
    "migrations": (PageRule("anyone", admin=200),),
    "migration-new": (PageRule("anyone", admin=200),),
    # There is none of this id.
    "migration-detail": (PageRule("absent", admin=404),),
    "migration-act": (PageRule("absent", admin=404, method="POST"),),
    "target-detail": (PageRule("viewer", admin=200),),
    "target-rules": (PageRule("manager"), PageRule("manager", 302, method="POST", form=RULES)),
    "target-credentials": (PageRule("manager"),),
    "target-system": (PageRule("manager"),),
    "target-test": (PageRule("manager", method="POST"),),
    "rotation": (PageRule("anyone", admin=200),),
    "exposure": (
        PageRule("manager of any", admin=200),
        PageRule("manager of any", admin=200, method="POST", form={"who": "newcomer", "typed": "newcomer"}),
    ),
    "leaked": (
        PageRule("manager of any", admin=200),
        PageRule("manager of any", admin=200, method="POST", form={"text": "x"}),
    ),
    "rotation-new": (PageRule("manager"),),
    "rotation-policy": (PageRule("viewer", admin=200),),
    "rotation-rules": (PageRule("manager"),),
    "rotation-connection": (PageRule("manager"),),
    "rotation-dry-run": (PageRule("editor", method="POST"),),
    "rotation-logins": (PageRule("editor", method="POST"),),
    # Without a comparison nothing is changed: back to the policy, with the reason.
    "rotation-align": (PageRule("manager", 302, method="POST"),),
    "rotation-act": (PageRule("editor", 302, method="POST"),),
    "target-plan": (PageRule("editor", 302, method="POST"),),
    "target-sync": (PageRule("editor", 302, method="POST"),),
    "target-check": (PageRule("editor", 302, method="POST"),),
    "target-adopt": (PageRule("manager"),),
    "target-disconnect": (PageRule("manager"),),
    "plan-detail": (PageRule("viewer", admin=200),),
    "plan-apply": (PageRule("editor", 302, method="POST"),),
    "plan-again": (PageRule("editor", 302, method="POST"),),
    "plan-item": (PageRule("viewer", admin=200), PageRule("editor", 302, method="POST", form={"choice": "keep_ours"})),
    "plan-item-members": (PageRule("viewer", admin=200), PageRule("reader", 302, method="POST")),
    "consents": (PageRule("manager", admin=200),),
    "consent-give": (PageRule("manager", 422, method="POST", form={"target": "nowhere/none"}),),
    "consent-withdraw": (PageRule("manager", 302, method="POST"),),
    "notifications": (PageRule("manager", admin=200),),
    "recipient-add": (LEADS_BACK, PageRule("manager", 302, admin=302, method="POST", form={"email": "new@example.com"})),
    "webhook-add": (LEADS_BACK, PageRule("manager", 200, admin=200, method="POST", form={"name": "new", "url": "https://hooks.example/x", "style": "slack"})),
}  # fmt: skip
PAGES.update(
    {
        name: (PageRule(act.least, act.page, 302 if act.operators else 403, "POST", act.form),)
        for name, act in ((name, ACTS.get((noun, declared.name))) for name, noun, declared in pages())
        if act
    }
)
# Who is not signed in comes in by these, or they show nothing of anybody.
OPEN_PAGES: Final = {
    "sign-in", "sign-in-code", "sign-in-passkey", "password-forgotten", "password-choose", "share-outside", "sign-out",
    "session-state",
    "healthz", "readyz", "metrics",
    "client", "client-file", "client-checksum",
    "oidc-keys", "oidc-start", "oidc-callback", "oidc-signed-out", "oidc-back-channel-logout", "oidc-front-channel-logout",
    "saml-start", "saml-acs", "saml-finish", "saml-metadata", "saml-logout",
}  # fmt: skip


def page_names() -> set[str]:
    return {
        str(pattern.name)
        for path, pattern in patterns(get_resolver().url_patterns)
        if not path.startswith(("api/", "admin/", "static/", "vault/", "aws", "scim/"))
    }


def test_every_page_has_its_rule() -> None:
    assert page_names() == PAGES.keys() | OPEN_PAGES


IN_ENVIRONMENT: Final = {
    "environment-clone", "environment-delete", "environment-restore", "environment-detail", "environment-update", "environment-access", "access-confirm", "member-grant", "token-issue", "notifications", "recipient-add",
    "webhook-add", "consents", "consent-give",
}  # fmt: skip
_OF_NO_SECRET: Final = {
    "secret-list",
    "secret-new",
    "secret-generate",
    "secret-check",
    "secret-matrix",
    "secret-row",
    "moved-compare",
    "moved-trail",
    "moved-table",
    "secret-import",
    "secret-export",
    "secret-search",
    "secret-bulk",
}


def page_path(place: Scene, name: str) -> str:  # noqa: PLR0911 - one for each kind of page
    of_none: dict[str, dict[str, Any]] = {
        "offboarding": {"username": "newcomer"},
        "offboard": {"username": "newcomer"},
        "person": {"username": "newcomer"},
        "person-update": {"username": "newcomer"},
        "person-disable": {"username": "newcomer"},
        "person-enable": {"username": "newcomer"},
        "person-reset-mfa": {"username": "newcomer"},
        "person-end-sessions": {"username": "newcomer"},
        "person-invite": {"username": "newcomer"},
        "person-invite-withdraw": {"username": "newcomer"},
        "trust-new": {"name": place.environment.name, "preset": "oidc"},
        "release-new": {"name": place.environment.name},
        "report-detail": {"key": "access"},
        "report-file": {"key": "access", "form": "csv"},
        "activity-export": {"form": "csv"},
        "restore-release": {"kind": "membership", "uuid": place.secret.uuid},
        "personal-token-revoke": {"uuid": place.secret.uuid},
        "emergency-read": {"uuid": place.secret.uuid},
        "emergency-close": {"uuid": place.secret.uuid},
        "activity-view-save": {},
        "activity-view-remove": {"id": 987654},
        "migrations": {},
        "migration-new": {},
        "migration-detail": {"id": 987654},
        "migration-act": {"id": 987654, "act": "stop"},
    }
    if (
        name in {"target-new", "rotation", "exposure", "leaked"}
        or name.startswith("sync")
        or name in of_none
        or name in {"approval-list", "access-request-new", "admin-tokens", "admin-token-issue"}
        or name in {"review-list", "review-new", "emergency-reads"}
    ):
        return reverse(name, kwargs=of_none.get(name))
    if name.startswith("departure"):
        return reverse(name, kwargs=place.of_departure(name))
    by_id = {
        "activity-event": place.event_id,
        "admin-token-": place.admin_token_id,
        "target-": place.target_id,
        "plan-": place.plan_id,
        "approval-": place.approval_id,
        "access-request-": place.request_id,
        "review-": place.review_id,
        "rotation-new": place.secret.pk,
        "rotation-act": place.rotation_id,
        "rotation-": place.policy_id,
    }
    for start, pk in by_id.items():
        if name.startswith(start):
            more: dict[str, dict[str, Any]] = {
                "plan-item": {"item": place.item_id},
                "plan-item-members": {"item": place.item_id},
                "rotation-act": {"act": "retry"},
            }
            return reverse(name, kwargs={"id": pk, **more.get(name, {})})
    rows = {
        "member-change": place.member.pk,
        "member-revoke": place.member.pk,
        "trust-detail": place.trust_id,
        "trust-change": place.trust_id,
        "trust-toggle": place.trust_id,
        "trust-delete": place.trust_id,
        "trust-test": place.trust_id,
        "trust-fetch-keys": place.trust_id,
        "token-detail": place.token_id,
        "token-narrow": place.token_id,
        "token-rotate": place.token_id,
        "token-revoke": place.token_id,
        "mapping-confirm": place.mapping_id,
        "recipient-remove": place.recipient_id,
        "recipient-test": place.recipient_id,
        "release-end": place.release_id,
        "webhook-remove": place.webhook_id,
        "webhook-test": place.webhook_id,
        "message-retry": place.message_id,
        "consent-withdraw": place.consent_id,
    }
    if name in rows:
        return reverse(name, kwargs={"name": place.environment.name, "id": rows[name]})
    if name in {"share", "share-revoke"}:
        arguments = {"link": "unknown"} if name == "share" else {"id": place.secret.pk, "share": 987654}
        return reverse(name, kwargs=arguments)
    if name in IN_ENVIRONMENT:
        return reverse(name, kwargs={"name": place.environment.name})
    of_secret = name.startswith("secret-") and name not in _OF_NO_SECRET
    return reverse(name, kwargs={"id": place.secret.pk} if of_secret else {})


def expected_page(name: str, rule: PageRule, caller: str) -> int:  # noqa: PLR0911 - it reads as the rules do
    if caller == "nobody":
        return 302
    if caller == "admin":
        return rule.admin
    if rule.least == "anyone":
        return rule.ok
    if name.startswith("departure") and caller in {"outsider", "viewer", "reader"}:
        return 404
    if name.startswith("review-") and name != "review-new" and caller not in {"manager", "admin"}:
        return 404
    if rule.least in {"nobody", "manager of any"}:
        return rule.ok if rule.least != "nobody" and caller == "manager" else 403
    if caller == "outsider" or rule.least == "absent":
        return 404
    if rule.least == "its manager":
        return rule.ok if caller == "manager" else 404
    if rule.least == "another":
        return rule.ok
    return rule.ok if ROLES.index(caller) >= ROLES.index(rule.least) else 403


@pytest.mark.parametrize("name", PAGES)
def test_each_person_gets_the_pages_that_the_table_says(stage: Callable[[str], Scene], name: str) -> None:
    for rule in PAGES[name]:
        with undone():
            _each_person_gets_the_page(stage(name), name, rule)


def _each_person_gets_the_page(place: Scene, name: str, rule: PageRule) -> None:
    answers, wanted, flaws, done = {}, {}, {}, set[str]()
    event, driven = recorded.PAGES.get((name, rule.method)), (name, rule.method) in recorded.DRIVEN
    for caller in PEOPLE:
        is_act = rule.method != "GET" and caller != "nobody" and expected_page(name, rule, caller) < 400
        form = {
            key: place.environment.pk if value == "{environment}" else place.body(value)
            for key, value in (rule.form or {}).items()
        }
        client = browser_of(caller, place)
        path = page_path(place, name)
        with undone() if is_act else nullcontext(), recorded.watching() as seen:
            response: Any = client.get(path) if rule.method == "GET" else client.post(path, form)
            text = shown(response)
        who = ACTORS.get(caller, f"{caller}-{place.environment.pk}")
        flaws[caller] = recorded.flaws(
            seen,
            response,
            text,
            name=name,
            actor=who,
            expected=event,
            idle=rule.least == "anyone" or driven,
        )
        done |= seen.of(Outcome.ALLOWED) | seen.of(Outcome.FAILED)
        answers[caller], wanted[caller] = response.status_code, expected_page(name, rule, caller)
        if caller == "nobody":
            assert response["Location"].startswith("/sign-in"), response["Location"]
        if caller in {"nobody", "outsider", "viewer", "admin"}:
            assert VALUE not in text, caller
    assert answers == wanted
    assert {caller: found for caller, found in flaws.items() if found} == {}
    assert driven or not isinstance(event, Action) or event in done
