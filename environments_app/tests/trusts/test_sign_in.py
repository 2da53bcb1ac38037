"""A workload signs in: what it gets, what is recorded, and what ends it."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from audit_app.errors import TooManyRefusals
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent, RefusalCount
from environments_app.authorization.principals import load_principal
from environments_app.environments.deletion import delete_environment
from environments_app.errors import BadToken, InvalidField, JwtRefused, KeysUnavailable, TooManyTokens
from environments_app.models import Alert, Environment, ServiceToken, Trust, UsedJwt
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer, served
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.authentication import authenticate
from environments_app.tokens.children import end_token
from environments_app.tokens.service import set_secret
from environments_app.trusts import service, sign_in, upkeep
from environments_app.trusts import sign_in as trial
from environments_app.trusts.jwt.rules import LEEWAY_SECONDS, MAX_ID
from environments_app.trusts.key_source import find_key, forget_keys

pytestmark = pytest.mark.django_db

ISSUER = Issuer()
HERE = "192.0.2.7"


def enter(jwt: str, name: str = "ci", address: str = HERE) -> sign_in.SignedIn:
    return sign_in.sign_in(trust_name=name, jwt=jwt, address=address)


def refusal(jwt: str, name: str = "ci", address: str = HERE) -> str:
    """Return what a refused sign-in is counted as; nothing else comes of it."""
    tokens = ServiceToken.objects.count()
    RefusalCount.objects.all().delete()
    with pytest.raises(JwtRefused) as refused:
        enter(jwt, name, address)
    told = "used before" if refused.value.reason == "jwt-replayed" else "The sign-in was refused."
    assert told in str(refused.value)
    assert ServiceToken.objects.count() == tokens
    [counted] = RefusalCount.objects.all()
    assert (counted.kind, counted.count) == (refused.value.reason, 1)
    return refused.value.reason


@pytest.mark.every_database
def test_a_workload_gets_a_short_token(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER, prefix="shop")
    jwt = ISSUER.sign()
    entered = enter(jwt)
    actor = authenticate(entered.text, address=HERE)

    assert actor.grants[0].environment_name == "production"
    assert (actor.grants[0].role, actor.grants[0].prefix) == ("reader", "shop")
    assert entered.token.expires_at is not None
    assert timedelta(minutes=14) < entered.token.expires_at - timezone.now() <= timedelta(minutes=15)
    [event] = AuditEvent.objects.filter(action=Action.TRUST_SIGN_IN)
    assert (event.actor_kind, event.actor_uuid, event.object_name) == ("token", entered.token.uuid, "ci")
    assert '"sub":"a-service"' in event.details
    assert '"role":"reader"' in event.details
    assert jwt not in event.details
    assert jwt.split(".")[2] not in event.details
    assert Trust.objects.get(pk=trust.pk).last_used_at is not None
    assert list(run_checks()) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "https://other.test"}, "jwt-audience"),
        ({"sub": "mallory"}, "jwt-claim"),
        ({"iss": "https://other.test"}, "jwt-unknown-key"),
        ({"exp": 1_000_000_000}, "jwt-expired"),
    ],
)
def test_a_wrong_token_is_refused_and_counted(cast: Cast, changes: dict[str, Any], reason: str) -> None:
    make_trust(cast, ISSUER)

    assert refusal(ISSUER.sign(**changes)) == reason


def test_other_reasons_are_counted_too(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER, cidrs=["10.0.0.0/8"])

    assert refusal(ISSUER.sign(), "other") == "trust-unknown"
    assert refusal(ISSUER.sign(), "x" * 5000) == "trust-unknown"
    assert refusal("") == "jwt-malformed"
    assert refusal(ISSUER.sign()) == "jwt-from-elsewhere"
    assert enter(ISSUER.sign(), address="10.1.2.3")
    Trust.objects.filter(pk=trust.pk).update(role="editor")
    assert refusal(ISSUER.sign(), address="10.1.2.3") == "trust-forged"


def test_its_token_opens_nothing_from_outside_the_networks_of_the_trust(cast: Cast) -> None:
    make_trust(cast, ISSUER, cidrs=["10.0.0.0/8"])
    entered = enter(ISSUER.sign(), address="10.1.2.3")
    assert authenticate(entered.text, address="10.9.9.9").grants
    with pytest.raises(BadToken) as refused:
        authenticate(entered.text, address=HERE)
    assert refused.value.reason == "token-from-elsewhere"


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("jwt-claim", {"sub": "mallory"}), ("jwt-audience", {"aud": "https://other.test"}),
        ("jwt-expired", {"exp": 1}), ("jwt-not-yet-valid", {"nbf": 4_000_000_000}), ("jwt-subject", {"sub": ...}),
        ("jwt-too-old", {"iat": 1}), ("jwt-no-id", {"jti": ...}),
    ],
)  # fmt: skip
def test_the_page_shows_what_a_token_of_the_issuer_failed(
    cast: Cast, reason: str, changes: dict[str, Any]
) -> None:
    trust = make_trust(cast, ISSUER, single_use=True)
    refusal("x.y.z")
    assert Trust.objects.get(pk=trust.pk).last_refusal == ""
    refusal(ISSUER.sign(**changes))
    assert Trust.objects.get(pk=trust.pk).last_refusal == reason


def test_a_stranger_changes_nothing_on_the_page_of_a_trust(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER)
    forged = ISSUER.sign().rpartition(".")[0] + "." + ISSUER.sign(sub="other").rpartition(".")[2]
    assert refusal(forged) == "jwt-signature"
    assert refusal(ISSUER.sign({"kid": "two"})) == "jwt-unknown-key"

    assert Trust.objects.get(pk=trust.pk).last_refusal == ""


def test_a_trust_notes_its_use_and_a_refusal_once_a_minute(cast: Cast) -> None:
    make_trust(cast, ISSUER)

    def noted() -> tuple[Any, ...]:
        return Trust.objects.values_list("last_used_at", "last_refused_at", "last_refusal").get()

    enter(ISSUER.sign())
    refusal(ISSUER.sign(sub="mallory"))
    first = noted()
    enter(ISSUER.sign())
    refusal(ISSUER.sign(exp=1))
    assert noted() == first
    Trust.objects.update(
        last_used_at=first[0] - timedelta(minutes=2), last_refused_at=first[1] - timedelta(hours=1)
    )
    enter(ISSUER.sign())
    refusal(ISSUER.sign(exp=1))
    assert noted()[0] > first[0]
    assert noted()[2] == "jwt-expired"


def test_an_address_that_is_refused_often_is_turned_away(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 3
    make_trust(cast, ISSUER)
    for _ in range(3):
        with pytest.raises(JwtRefused):
            enter("x.y.z")

    with pytest.raises(TooManyRefusals):
        enter("x.y.z")


def test_refusals_of_a_network_keep_no_workload_out(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 1
    make_trust(cast, ISSUER)
    for _ in range(3):
        with pytest.raises((JwtRefused, TooManyRefusals)):
            enter(ISSUER.sign(sub="mallory"))

    assert enter(ISSUER.sign())


def test_a_token_is_used_once_where_the_trust_says_so(cast: Cast) -> None:
    make_trust(cast, ISSUER, single_use=True)
    make_trust(cast, ISSUER, name="again")
    jwt = ISSUER.sign()

    assert enter(jwt)
    assert refusal(jwt) == "jwt-replayed"
    assert enter(jwt, "again")
    assert enter(jwt, "again")
    assert UsedJwt.objects.count() == 1


def test_an_id_that_another_issuer_used_is_not_used_up(cast: Cast) -> None:
    other = Issuer("https://other.test")
    make_trust(cast, ISSUER, single_use=True)
    make_trust(cast, other, name="other", single_use=True)

    assert enter(ISSUER.sign(jti="1"))
    assert enter(other.sign(jti="1"), "other")
    assert refusal(other.sign(jti="1"), "other") == "jwt-replayed"


def test_a_trust_decides_how_old_a_token_may_be(cast: Cast) -> None:
    make_trust(cast, ISSUER, max_age_minutes=5)
    make_trust(cast, ISSUER, name="patient", max_age_minutes=120)
    old = ISSUER.sign(iat=int(time.time()) - 90 * 60)
    some = ISSUER.sign(iat=int(time.time()) - 10 * 60)

    assert refusal(some) == "jwt-too-old"
    assert enter(old, "patient")


def test_a_token_without_an_id_is_not_used_once(cast: Cast) -> None:
    make_trust(cast, ISSUER, single_use=True)

    assert refusal(ISSUER.sign(jti=...)) == "jwt-no-id"


def test_used_tokens_are_forgotten_once_they_have_expired(cast: Cast) -> None:
    make_trust(cast, ISSUER, single_use=True)
    enter(ISSUER.sign())
    assert sign_in.purge_used_jwts() == 0
    UsedJwt.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert sign_in.purge_used_jwts() == 1


@pytest.mark.parametrize("end", ["disabled", "deleted", "changed", "edited", "suspended", "expired"])
@pytest.mark.every_database
def test_what_ends_a_trust_ends_its_tokens_at_the_next_request(cast: Cast, end: str) -> None:
    trust = make_trust(cast, ISSUER)
    entered = enter(ISSUER.sign())
    actor = authenticate(entered.text, address=HERE)
    alice = cast.principal(cast.alice)
    stored = Trust.objects.select_related("environment").get()
    if end == "disabled":
        service.change(actor=alice, trust=stored, enabled=False)
    elif end == "deleted":
        service.delete(actor=alice, trust=stored)
    elif end == "changed":
        service.change(actor=alice, trust=stored, claims={"sub": "other"})
    elif end == "edited":
        Trust.objects.filter(pk=trust.pk).update(disabled_at=None, role="editor")
    elif end == "suspended":
        stored.suspended_at = timezone.now()
        stored.save()
    else:
        stored.expires_at = timezone.now() - timedelta(seconds=1)
        stored.save()

    with pytest.raises(BadToken) as refused:
        authenticate(entered.text, address=HERE)
    assert refused.value.reason == "token-ended-by-trust"
    assert load_principal(actor).grants == ()


def test_enabling_a_trust_revives_no_token(cast: Cast) -> None:
    make_trust(cast, ISSUER)
    entered = enter(ISSUER.sign())
    alice = cast.principal(cast.alice)
    for enabled in (False, True):
        service.change(actor=alice, trust=Trust.objects.select_related("environment").get(), enabled=enabled)

    with pytest.raises(BadToken):
        authenticate(entered.text, address=HERE)
    assert enter(ISSUER.sign())


def test_a_token_cannot_be_moved_to_another_trust(cast: Cast) -> None:
    make_trust(cast, ISSUER)
    other = make_trust(cast, ISSUER, name="other")
    entered = enter(ISSUER.sign())
    for trust_uuid in (other.uuid, None):
        ServiceToken.objects.filter(pk=entered.token.pk).update(trust_uuid=trust_uuid)
        with pytest.raises(BadToken) as refused:
            authenticate(entered.text, address=HERE)
        assert refused.value.reason == "forged-token"


def github(**changes: Any) -> str:
    claims = {
        "repository": "example/shop", "ref": "refs/heads/main", "repository_owner_id": "7",
        "event_name": "push", "run_id": "99", "sub": "repo:example/shop:ref:refs/heads/main",
    }  # fmt: skip
    return ISSUER.sign(**claims | changes)


def test_a_github_repository_that_changed_hands_is_refused(cast: Cast) -> None:
    make_trust(cast, ISSUER, preset="github", claims={"repository": "example/shop"})

    assert enter(github())
    assert Trust.objects.get().pinned == "7"
    assert Trust.objects.get().is_authentic()
    assert refusal(github(repository_owner_id="8")) == "jwt-claim"
    assert enter(github())
    assert list(run_checks()) == []


def test_of_two_first_sign_ins_one_decides_the_owner(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read a trust that nobody signed in by yet: the other one stores its owner first."""
    make_trust(cast, ISSUER, preset="github", claims={"repository": "example/shop"})

    def meanwhile(token: ServiceToken) -> str:
        monkeypatch.undo()
        enter(github(repository_owner_id="8"))
        return set_secret(token)

    monkeypatch.setattr("environments_app.trusts.sign_in.set_secret", meanwhile)
    with pytest.raises(JwtRefused) as refused:
        enter(github())
    assert refused.value.reason == "jwt-claim"
    assert (Trust.objects.get().pinned, Trust.objects.get().last_refusal) == ("8", "jwt-claim")
    assert ServiceToken.objects.filter(trust_uuid__isnull=False).count() == 1


def suspend_all() -> None:
    for trust in Trust.objects.select_related("environment"):
        trust.suspended_at = timezone.now()
        trust.save()


def _narrowed(cast: Cast, trust: Trust) -> None:
    service.change(actor=cast.principal(cast.alice), trust=trust, claims={"sub": "other"})


def _deleted(cast: Cast, trust: Trust) -> None:
    service.delete(actor=cast.principal(cast.alice), trust=trust)


def _disabled_and_enabled(cast: Cast, trust: Trust) -> None:
    for enabled in (False, True):
        service.change(actor=cast.principal(cast.alice), trust=trust, enabled=enabled)


MEANWHILE: dict[str, tuple[Callable[[Cast, Trust], object], str]] = {
    "nothing": (lambda *_: None, ""),
    "renamed": (
        lambda cast, trust: service.change(actor=cast.principal(cast.alice), trust=trust, name="x"),
        "",
    ),
    "narrowed": (_narrowed, "trust-ended"),
    "deleted": (_deleted, "trust-ended"),
    "disabled and enabled": (_disabled_and_enabled, "trust-ended"),
    "suspended": (lambda *_: suspend_all(), "trust-ended"),
    "edited": (lambda *_: Trust.objects.update(role="editor"), "trust-forged"),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_no_token_outlives_what_was_taken_away_during_its_sign_in(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """The trust was read before the keys of its issuer were, which may take seconds."""
    make_trust(cast, ISSUER)
    act, reason = MEANWHILE[meanwhile]

    def slowly(*arguments: Any, **options: Any) -> Any:
        act(cast, Trust.objects.select_related("environment").get())
        return find_key(*arguments, **options)

    monkeypatch.setattr(sign_in, "find_key", slowly)
    if reason:
        assert refusal(ISSUER.sign()) == reason
    else:
        assert authenticate(enter(ISSUER.sign()).text, address=HERE).grants


def test_a_github_token_without_an_owner_is_refused(cast: Cast) -> None:
    make_trust(cast, ISSUER, preset="github", claims={"repository": "example/shop"})

    assert refusal(github(repository_owner_id=...)) == "jwt-claim"
    assert refusal(github(repository_owner_id="7" * (MAX_ID + 1))) == "jwt-claim"
    assert enter(github(repository_owner_id="7" * MAX_ID))


def test_pull_request_target_is_refused_unless_asked_for(cast: Cast) -> None:
    make_trust(cast, ISSUER, preset="github", claims={"repository": "example/shop"})
    make_trust(
        cast, ISSUER, preset="github", name="wide", claims={"repository": "example/shop"},
        allows_pull_request_target=True,
    )  # fmt: skip

    assert refusal(github(event_name="pull_request_target")) == "jwt-claim"
    assert enter(github(event_name="pull_request_target"), "wide")


@pytest.mark.every_database
def test_a_trust_issues_only_so_many_tokens_at_once(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_TRUST_MAX_TOKENS = 2
    make_trust(cast, ISSUER)
    enter(ISSUER.sign())
    enter(ISSUER.sign())

    with pytest.raises(TooManyTokens):
        enter(ISSUER.sign())


def test_tokens_that_open_nothing_count_for_no_limit(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_TRUST_MAX_TOKENS = 2
    trust = make_trust(cast, ISSUER)
    for _ in range(3):
        entered = enter(ISSUER.sign())
        end_token(actor=authenticate(entered.text, address=HERE), token=entered.token)
    assert enter(ISSUER.sign())
    assert enter(ISSUER.sign())
    service.change(actor=cast.principal(cast.alice), trust=trust, role="viewer")

    assert enter(ISSUER.sign())


def test_an_alert_comes_before_the_limit(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_TRUST_MAX_TOKENS = 5
    make_trust(cast, ISSUER)
    for _ in range(3):
        enter(ISSUER.sign())
    upkeep.watch_trusts()
    assert not full()
    enter(ISSUER.sign())
    upkeep.watch_trusts()
    assert full()
    ServiceToken.objects.filter(trust_uuid__isnull=False).update(expires_at=timezone.now())
    upkeep.watch_trusts()

    assert not full()


def full() -> bool:
    return Alert.objects.filter(kind=upkeep.FULL, open=True).exists()


def test_a_used_token_is_refused_until_no_leeway_accepts_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trust(cast, ISSUER, single_use=True)
    ends = int(time.time()) + 60
    jwt = ISSUER.sign(exp=ends)
    enter(jwt)
    # The last second in which its time is still accepted.
    last = ends + LEEWAY_SECONDS - 1
    monkeypatch.setattr(time, "time", lambda: float(last))
    monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(last, UTC))
    sign_in.purge_used_jwts()

    assert refusal(jwt) == "jwt-replayed"


def test_a_trial_fails_where_the_sign_in_would(cast: Cast, settings: Settings) -> None:
    actor = cast.principal(cast.alice)
    shop = make_trust(cast, ISSUER, name="shop", preset="github", claims={"repository": "example/shop"})
    once = make_trust(cast, ISSUER, name="once", single_use=True)

    def passes(trust: Trust, jwt: str) -> bool:
        return trial.try_token(actor=actor, trust=trust, jwt=jwt).passed

    used = ISSUER.sign()
    assert passes(once, used)
    enter(used, "once")

    assert not passes(once, used)
    assert not passes(once, "junk")
    # Used by a trust that takes a token once, and tried at one that does not.
    assert passes(make_trust(cast, ISSUER, name="again"), used)
    assert not passes(shop, github(repository_owner_id=...))
    assert not passes(shop, github(repository_owner_id="7" * (MAX_ID + 1)))
    assert passes(shop, github())
    assert not passes(service.change(actor=actor, trust=shop, enabled=False), github())
    settings.KEEPER_TRUST_MAX_TOKENS = 1
    assert not passes(once, ISSUER.sign())


@pytest.mark.parametrize("forged", ["trust", "environment"])
def test_a_trial_fails_where_a_row_was_edited(cast: Cast, forged: str) -> None:
    trust, actor = make_trust(cast, ISSUER), cast.principal(cast.alice)
    if forged == "trust":
        Trust.objects.update(role="editor")
    else:
        Environment.objects.filter(pk=cast.production.pk).update(protected=True)
    trust = Trust.objects.select_related("environment").get(pk=trust.pk)

    tried = trial.try_token(actor=actor, trust=trust, jwt=ISSUER.sign())
    assert [check.reason for check in tried.checks if not check.passed] == ["trust-ended"]


def test_an_unreachable_issuer_is_shown_on_the_trust(cast: Cast, settings: Settings) -> None:
    trust = make_trust(cast, ISSUER, jwks="", jwks_url="https://keys.invalid/jwks")
    with pytest.raises(KeysUnavailable):
        enter(ISSUER.sign())

    assert Trust.objects.get(pk=trust.pk).last_refusal == "keys-unavailable"


@pytest.mark.parametrize(
    "url", ["https://10.0.0.9/jwks", "https://169.254.169.254/jwks", "https://localhost/jwks"]
)
def test_keys_at_a_forbidden_address_are_refused_at_once(cast: Cast, url: str) -> None:
    with pytest.raises(InvalidField, match="KEEPER_OUTBOUND_ALLOWED"):
        make_trust(cast, ISSUER, jwks="", jwks_url=url)


def test_a_token_ends_with_its_trust(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER, expires_at=timezone.now() + timedelta(minutes=3))

    assert enter(ISSUER.sign()).token.expires_at == trust.expires_at


@pytest.mark.every_database
def test_ended_tokens_are_removed_after_a_week(cast: Cast) -> None:
    make_trust(cast, ISSUER)
    old, new = enter(ISSUER.sign()).token, enter(ISSUER.sign()).token
    assert upkeep.purge_ended_tokens() == 0
    # As it would be stored by then.
    old.expires_at = timezone.now() - timedelta(days=8)
    old.save()
    assert upkeep.purge_ended_tokens() == 1

    assert list(ServiceToken.objects.filter(trust_uuid__isnull=False)) == [new]
    assert list(run_checks()) == []


@pytest.fixture
def running(settings: Settings, socket_enabled: None) -> Iterator[Issuer]:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    forget_keys()
    with served(Issuer()) as issuer:
        yield issuer


def test_keys_are_discovered_and_an_outage_is_no_refusal(cast: Cast, running: Issuer) -> None:
    make_trust(cast, running, jwks="")
    assert enter(running.sign())
    forget_keys()
    running.answers["/.well-known/openid-configuration"] = (500, {}, b"")

    with pytest.raises(KeysUnavailable):
        enter(running.sign())
    assert not RefusalCount.objects.exists()


ENDED: dict[str, tuple[Callable[[Cast, Trust], object], str]] = {
    "disabled": (
        lambda cast, trust: service.change(actor=cast.principal(cast.alice), trust=trust, enabled=False),
        "trust-ended",
    ),
    "edited": (lambda *_: Trust.objects.update(role="editor"), "trust-forged"),
    "of an edited environment": (
        lambda cast, _: Environment.objects.filter(pk=cast.production.pk).update(protected=True),
        "trust-forged",
    ),
    "of a deleted environment": (
        lambda cast, _: delete_environment(actor=cast.principal(cast.root), environment=cast.production),
        "trust-of-deleted-environment",
    ),
}


@pytest.mark.parametrize("ended", ENDED)
def test_nothing_is_fetched_for_a_trust_that_lets_nobody_in(cast: Cast, running: Issuer, ended: str) -> None:
    """Its address may be one that somebody wrote into the row."""
    trust = make_trust(cast, running, jwks="")
    forget_keys()
    running.requests.clear()
    act, reason = ENDED[ended]
    act(cast, trust)

    assert refusal(running.sign()) == reason
    assert refusal(running.sign(sub="mallory")) == reason
    assert not running.requests


def test_nothing_is_fetched_for_a_token_of_another_issuer(cast: Cast, running: Issuer) -> None:
    make_trust(cast, running, jwks="")
    refusal(running.sign(iss="https://other.test"))
    refusal(running.sign({"alg": "RS512"}))
    refusal("junk")

    assert not running.requests
