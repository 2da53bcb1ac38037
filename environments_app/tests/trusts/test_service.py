"""Creating, changing, disabling and deleting trusts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from joserfc.jwk import RSAKey
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.approvals import service as approvals
from environments_app.authorization.effective_access import explain_access
from environments_app.environments import service as environments
from environments_app.errors import (
    ApprovalNeeded,
    Forbidden,
    InvalidField,
    Invisible,
    JwtRefused,
    KeysUnavailable,
    NameInUse,
    Tampered,
)
from environments_app.forms.trust import TrustForm
from environments_app.models import Approval, Membership, Role, Trust, User
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer, served
from environments_app.tests.trusts.made import make_trust
from environments_app.trusts import service
from environments_app.trusts import service as proposals
from environments_app.trusts.sign_in import sign_in
from environments_app.trusts.upkeep import trust_status, watch_trusts

pytestmark = pytest.mark.django_db

ISSUER = Issuer()
TWO_KEYS = json.dumps({"keys": [*json.loads(ISSUER.jwks())["keys"], Issuer(kid="two").public()]})


def fresh(trust: Trust) -> Trust:
    return Trust.objects.select_related("environment").get(pk=trust.pk)


def events(action: Action) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action).order_by("pk"))


def test_a_preset_gives_what_is_left_out(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_URL = "https://keeper.example"
    trust = service.create(
        actor=cast.principal(cast.alice), environment=cast.production, preset="github", name="deploy",
        claims={"repository": "example/shop", "ref": "refs/heads/*"}, role="reader",
    )  # fmt: skip

    assert trust.issuer == "https://token.actions.githubusercontent.com"
    assert trust.audience == "https://keeper.example"
    assert (trust.algorithm, trust.single_use, trust.lifetime_minutes) == ("RS256", True, 15)
    assert trust.expires_at is not None
    [event] = events(Action.TRUST_CREATE)
    assert event.object_name == "deploy"
    assert "refs/heads/*" in event.details


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Deploy"), ("name", ""), ("name", "a b"), ("name", "system"), ("name", "x" * 101),
        ("preset", "jenkins"),
        ("issuer", ""), ("issuer", "a b"),
        ("audience", ""), ("audience", "a\nb"),
        ("jwks", "{}"), ("jwks", "x" * 40_000),
        ("jwks_url", "https://issuer.test/keys"),
        ("algorithm", "HS256"), ("algorithm", "none"),
        ("claims", {}), ("claims", []), ("claims", {"sub": 7}), ("claims", {"sub": "*"}),
        ("claims", {"sub": "abc*"}), ("claims", {"ref": "abc*", "sub": "x"}), ("claims", ["sub"]),
        *(("claims", {name: "x", "sub": "y"}) for name in ("iss", "aud", "exp", "iat", "nbf", "jti")),
        ("claims", {f"c{number}": "x" for number in range(21)}), ("claims", {"a b": "x"}),
        ("role", "manager"), ("role", "admin"), ("role", ""),
        ("prefix", "../x"), ("cidrs", ["x"]),
        ("lifetime_minutes", 14), ("lifetime_minutes", 61),
        ("max_age_minutes", 0), ("max_age_minutes", 1441),
    ],
)  # fmt: skip
def test_what_a_trust_may_not_say_is_refused(cast: Cast, field: str, value: Any) -> None:
    with pytest.raises(InvalidField) as refused:
        make_trust(cast, ISSUER, **{field: value})

    assert refused.value.field == field.replace("_url", "")
    assert not Trust.objects.exists()


def test_an_issuer_without_pasted_keys_has_an_https_address(cast: Cast) -> None:
    for issuer in ("http://issuer.test", "issuer"):
        with pytest.raises(InvalidField):
            make_trust(cast, ISSUER, jwks="", issuer=issuer)


def test_a_private_key_is_not_taken(cast: Cast) -> None:
    import json

    private = RSAKey.generate_key(2048).as_dict(private=True) | {"kid": "x"}
    with pytest.raises(InvalidField, match="private"):
        make_trust(cast, ISSUER, jwks=json.dumps({"keys": [private]}))


def test_each_preset_demands_a_claim_that_identifies(cast: Cast) -> None:
    for preset, claims in (
        ("github", {"ref": "refs/heads/main"}), ("github", {"sub": "repo:x/*:ref:main"}),
        ("gitlab", {"ref_protected": "true"}), ("kubernetes", {"/kubernetes.io/pod/name": "x"}),
    ):  # fmt: skip
        with pytest.raises(InvalidField):
            make_trust(cast, ISSUER, preset=preset, claims=claims)


def test_a_name_is_one_of_the_installation(cast: Cast) -> None:
    make_trust(cast, ISSUER)
    with pytest.raises(NameInUse):
        make_trust(cast, ISSUER)


@pytest.mark.parametrize(("name", "error"), [("bob", Forbidden), ("charlie", Invisible)])
def test_only_managers_have_trusts(cast: Cast, name: str, error: type[Exception]) -> None:
    trust = make_trust(cast, ISSUER)
    Membership.objects.create(environment=cast.production, user=cast.bob, role="editor")
    actor = cast.principal(getattr(cast, name))
    with pytest.raises(error):
        service.find_trust(actor=actor, environment=cast.production, id=trust.pk)
    with pytest.raises(error):
        service.change(actor=actor, trust=fresh(trust), enabled=False)
    with pytest.raises(error):
        service.delete(actor=actor, trust=fresh(trust))


def test_a_change_is_stored_and_recorded(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER)
    Trust.objects.filter(pk=trust.pk).update(last_refusal="jwt-claim")
    changed = service.change(
        actor=cast.principal(cast.alice), trust=fresh(trust), claims={"sub": "other"}, role="viewer"
    )

    assert fresh(trust).claims == {"sub": "other"}
    assert changed.valid_from > trust.valid_from
    assert fresh(trust).is_authentic()
    assert len(events(Action.TRUST_CHANGE)) == 1
    service.change(actor=cast.principal(cast.alice), trust=fresh(trust), role="viewer")
    assert len(events(Action.TRUST_CHANGE)) == 1


def test_it_is_disabled_and_enabled(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER)
    alice = cast.principal(cast.alice)
    service.change(actor=alice, trust=fresh(trust), enabled=False)
    assert trust_status(fresh(trust)) == "disabled"
    service.change(actor=alice, trust=fresh(trust), enabled=True)
    assert fresh(trust).is_live


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        ({"issuer": "https://other.test"}, True), ({"audience": "other"}, True), ({"role": "viewer"}, True),
        ({"claims": {"sub": "other"}}, True), ({"prefix": "shop"}, True), ({"cidrs": ["10.0.0.0/8"]}, True),
        ({"max_age_minutes": 5}, True), ({"single_use": True}, True), ({"enabled": False}, True),
        ({"jwks": Issuer(kid="two").jwks()}, True), ({"allows_pull_request_target": True}, False),
        ({"name": "other"}, False), ({"lifetime_minutes": 20}, False), ({"role": "editor"}, False),
        ({"max_age_minutes": 90}, False), ({"cidrs": ["10.0.0.0/8"], "role": "editor"}, True),
        ({"algorithm": "PS256"}, True), ({"jwks_url": "https://issuer.test/keys", "jwks": ""}, True),
        ({"jwks": TWO_KEYS}, False),
    ],
)  # fmt: skip
def test_a_change_of_who_gets_in_or_what_for_ends_what_was_issued(
    cast: Cast, change: dict[str, Any], ends: bool
) -> None:
    trust = make_trust(cast, ISSUER)
    changed = service.change(actor=cast.principal(cast.alice), trust=fresh(trust), **change)
    assert (fresh(trust).valid_from > trust.valid_from) == ends
    assert fresh(trust).valid_from == changed.valid_from


@pytest.mark.parametrize(
    ("before", "change", "ends"),
    [
        ({"cidrs": ["10.0.0.0/8"]}, {"cidrs": []}, False),
        ({"cidrs": ["10.0.0.0/8"]}, {"cidrs": ["10.0.0.0/8", "192.168.0.0/16"]}, False),
        ({"cidrs": ["10.0.0.0/8"]}, {"cidrs": ["192.168.0.0/16"]}, True),
        ({"cidrs": ["127.0.0.0/8", "::1/128"]}, {"cidrs": ["0.0.0.0/0", "::/0"]}, False),
        ({"cidrs": ["127.0.0.0/8", "::1/128"]}, {"cidrs": ["0.0.0.0/0"]}, True),
        ({"cidrs": ["10.0.0.0/8"]}, {"cidrs": ["10.1.0.0/16"]}, True),
        ({"cidrs": []}, {"cidrs": ["0.0.0.0/0", "::/0"]}, True),
        ({"prefix": "shop/web"}, {"prefix": "shop"}, False),
        ({"prefix": "shop/web"}, {"prefix": ""}, False),
        ({"prefix": "shop/web"}, {"prefix": "shop/we"}, True),
        ({"claims": {"sub": "a", "ref": "b"}}, {"claims": {"sub": "a"}}, False),
        ({"claims": {"sub": "a", "ref": "b"}}, {"claims": {"sub": "a", "ref": "c"}}, True),
        ({"single_use": True}, {"single_use": False}, False),
        ({"jwks": TWO_KEYS}, {"jwks": ISSUER.jwks()}, True),
        ({"allows_pull_request_target": True}, {"allows_pull_request_target": False}, True),
    ],
    ids=range(15),
)  # fmt: skip
def test_what_only_widens_ends_no_token(
    cast: Cast, before: dict[str, Any], change: dict[str, Any], ends: bool
) -> None:
    trust = make_trust(cast, ISSUER, **before)
    service.change(actor=cast.principal(cast.alice), trust=fresh(trust), **change)
    assert (fresh(trust).valid_from > trust.valid_from) == ends


def test_a_widening_is_judged_by_what_is_stored_at_the_moment_of_the_change(cast: Cast) -> None:
    """What was widening when the page was loaded may narrow by now."""
    trust = make_trust(cast, ISSUER, cidrs=["10.0.0.0/8"])
    alice = cast.principal(cast.alice)
    loaded = fresh(trust)
    service.change(actor=alice, trust=fresh(trust), cidrs=[])
    between = fresh(trust).valid_from

    service.change(actor=alice, trust=loaded, cidrs=["10.0.0.0/8", "192.168.0.0/16"])

    assert fresh(trust).valid_from > between


def test_the_page_states_before_how_many_tokens_a_change_ends(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    trust = make_trust(cast, ISSUER)
    for _ in range(2):
        sign_in(trust_name=trust.name, jwt=ISSUER.sign(), address="10.0.0.1")
    page = signed_in(cast.alice)
    address = f"/environments/{cast.production.name}/trusts/{trust.pk}"
    form = {
        **{
            name: value
            for name, value in TrustForm.initial_of(fresh(trust)).items()
            if value not in {None, False}
        },
        "expires_at": "",
    }

    asked = page.post(f"{address}/change", {**form, "role": "viewer"})
    assert "ends 2 valid tokens" in asked.content.decode()
    assert fresh(trust).role == "reader"
    assert page.post(f"{address}/change", {**form, "role": "viewer", "confirmed": "yes"}).status_code == 302
    assert fresh(trust).role == "viewer"
    wider = page.post(f"{address}/change", {**form, "role": "editor"})
    assert wider.status_code == 302


def test_keys_are_fetched_now_and_removed_ones_count_no_longer(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    with served(Issuer()) as issuer:
        trust = make_trust(cast, issuer, jwks="")
        old = issuer.sign()
        sign_in(trust_name=trust.name, jwt=old, address="10.0.0.1")
        issuer.rotate("two")
        sign_in(trust_name=trust.name, jwt=old, address="10.0.0.1")

        stored = service.fetch_keys_now(actor=cast.principal(cast.alice), trust=fresh(trust))

        assert stored.is_authentic()
        with pytest.raises(JwtRefused):
            sign_in(trust_name=trust.name, jwt=old, address="10.0.0.1")
        sign_in(trust_name=trust.name, jwt=issuer.sign(), address="10.0.0.1")
        assert fresh(trust).valid_from == trust.valid_from
        cache.clear()
        issuer.answers["/.well-known/openid-configuration"] = (500, {}, b"")
        with pytest.raises(KeysUnavailable):
            service.fetch_keys_now(actor=cast.principal(cast.alice), trust=fresh(trust))
        assert fresh(trust).keys_from == stored.keys_from
        Membership.objects.create(environment=cast.production, user=cast.bob, role="editor")
        with pytest.raises(Forbidden):
            service.fetch_keys_now(actor=cast.principal(cast.bob), trust=fresh(trust))


@pytest.mark.parametrize("served_keys", [b'{"keys": []}', b'{"keys": [{"kty": "EC"}]}'])
def test_an_issuer_that_serves_no_key_has_retired_its_old_ones(
    cast: Cast, settings: Settings, served_keys: bytes
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    with served(Issuer()) as issuer:
        trust = make_trust(cast, issuer, jwks="")
        old = issuer.sign()
        sign_in(trust_name=trust.name, jwt=old, address="10.0.0.1")
        issuer.answers["/keys"] = (200, {}, served_keys)

        service.fetch_keys_now(actor=cast.principal(cast.alice), trust=fresh(trust))

        with pytest.raises(KeysUnavailable):
            sign_in(trust_name=trust.name, jwt=old, address="10.0.0.1")
        # What is no set of keys says nothing of them.
        before = fresh(trust).keys_from
        for told in (b"{}", b"gone"):
            cache.clear()
            issuer.answers["/keys"] = (200, {}, told)
            with pytest.raises(KeysUnavailable):
                service.fetch_keys_now(actor=cast.principal(cast.alice), trust=fresh(trust))
        assert fresh(trust).keys_from == before


def test_an_issuer_is_asked_once_a_minute_for_a_trust_whoever_asks(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    Membership.objects.create(environment=cast.production, user=cast.bob, role="manager")
    with served(Issuer()) as issuer:
        trust = make_trust(cast, issuer, jwks="", jwks_url=f"{issuer.url}/keys")
        other = make_trust(cast, issuer, name="other", jwks="", jwks_url=f"{issuer.url}/keys")
        issuer.requests.clear()
        service.fetch_keys_now(actor=cast.principal(cast.alice), trust=fresh(trust))
        for user in (cast.alice, cast.bob):
            with pytest.raises(KeysUnavailable, match="last minute"):
                service.fetch_keys_now(actor=cast.principal(user), trust=fresh(trust))
        assert issuer.requests == ["/keys"]
        service.fetch_keys_now(actor=cast.principal(cast.bob), trust=fresh(other))
        assert issuer.requests == ["/keys"] * 2


def test_deletion_is_recorded_and_leaves_no_problem(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER)
    service.delete(actor=cast.principal(cast.alice), trust=trust)

    assert not Trust.objects.exists()
    assert list(run_checks()) == []


@pytest.mark.every_database
def test_a_row_that_was_edited_is_found_and_not_changed(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER)
    Trust.objects.filter(pk=trust.pk).update(claims={"sub": "mallory"})

    assert [problem.kind for problem in run_checks()] == ["edited"]
    with pytest.raises(Tampered):
        service.change(actor=cast.principal(cast.alice), trust=fresh(trust), enabled=False)
    service.delete(actor=cast.principal(cast.alice), trust=fresh(trust))
    assert list(run_checks()) == []


def protect(cast: Cast) -> None:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.production, protected=True
    )
    cast.production.refresh_from_db()


def test_narrowing_needs_no_second_person_and_widening_does(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER, role="editor", lifetime_minutes=30)
    protect(cast)
    alice = cast.principal(cast.alice)
    for narrower in (
        {"role": "reader"}, {"role": "viewer"}, {"prefix": "shop"}, {"cidrs": ["10.0.0.0/8"]}, {"lifetime_minutes": 15},
        {"cidrs": ["10.1.0.0/16", "10.2.0.0/16"]},
        {"max_age_minutes": 10}, {"single_use": True}, {"claims": {"sub": "a-service", "ref": "main"}},
        {"enabled": False}, {"expires_at": timezone.now() + timedelta(days=1)},
    ):  # fmt: skip
        service.change(actor=alice, trust=fresh(trust), **narrower)
    wider: dict[str, Any]
    for wider in (
        {"role": "editor"}, {"role": "reader"}, {"prefix": ""}, {"prefix": "shopping"}, {"cidrs": []}, {"lifetime_minutes": 16},
        {"cidrs": ["10.0.0.0/15"]},
        {"claims": {"sub": "a-service"}}, {"issuer": "https://other.test"}, {"audience": "x"},
        {"single_use": False}, {"enabled": True}, {"algorithm": "ES256"}, {"jwks": Issuer(kid="two").jwks()},
        {"expires_at": timezone.now() + timedelta(days=2)},
    ):  # fmt: skip
        before = fresh(trust)
        with pytest.raises(ApprovalNeeded):
            service.change(actor=alice, trust=before, **wider)
        assert fresh(trust).row_mac == before.row_mac


def test_an_approved_change_is_carried_out(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER)
    protect(cast)
    alice = cast.principal(cast.alice)
    with pytest.raises(ApprovalNeeded):
        service.change(actor=alice, trust=fresh(trust), role="editor", claims={"sub": "other"})
    approval = approvals.approve(actor=cast.principal(cast.erin), approval=Approval.objects.get())
    approvals.carry_out(actor=alice, approval=approval)

    assert (fresh(trust).role, fresh(trust).claims) == ("editor", {"sub": "other"})


def test_a_disabled_trust_is_enabled_by_two(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER)
    alice = cast.principal(cast.alice)
    service.change(actor=alice, trust=fresh(trust), enabled=False)
    protect(cast)
    with pytest.raises(ApprovalNeeded):
        service.change(actor=alice, trust=fresh(trust), enabled=True)
    approval = approvals.approve(actor=cast.principal(cast.erin), approval=Approval.objects.get())
    assert not fresh(trust).is_live
    approvals.carry_out(actor=alice, approval=approval)
    assert fresh(trust).is_live


def test_access_is_explained(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER, prefix="shop")
    [way] = [
        way
        for way in explain_access(actor=cast.principal(cast.alice), environment=cast.production)
        if way.kind == "trust"
    ]

    assert (way.who, way.reads, way.prefix, way.granted_by) == (trust.name, True, "shop", "alice")


def test_people_are_told_of_trusts_that_end_or_are_unused(cast: Cast) -> None:
    from environments_app.models import Alert

    trust = make_trust(cast, ISSUER)
    Trust.objects.filter(pk=trust.pk).update(created_at=timezone.now() - timedelta(days=400))
    other = make_trust(cast, ISSUER, name="soon", expires_at=timezone.now() + timedelta(days=1))
    watch_trusts()

    kinds = set(Alert.objects.filter(open=True).values_list("kind", flat=True))
    assert {"trusts-unused", "trusts-expiring"} <= kinds
    assert trust_status(fresh(trust)) == "unused"
    assert trust_status(fresh(other)) == "expiring"


def test_each_state_of_a_trust_has_its_name_and_lets_nobody_in(cast: Cast) -> None:
    trust, now = make_trust(cast, ISSUER), timezone.now()
    states: dict[str, dict[str, Any]] = {
        "disabled": {"disabled_at": now, "suspended_at": now, "expires_at": now},
        "suspended": {"suspended_at": now, "expires_at": now},
        "expired": {"expires_at": now},
    }
    for state, changes in states.items():
        stored = fresh(trust)
        for name in ("disabled_at", "suspended_at", "expires_at"):
            setattr(stored, name, changes.get(name))
        stored.save()
        assert trust_status(fresh(trust)) == state
        with pytest.raises(JwtRefused) as refused:
            sign_in(trust_name=trust.name, jwt=ISSUER.sign(), address="192.0.2.7")
        assert refused.value.reason == "trust-ended"
    stored = fresh(trust)
    stored.expires_at = None
    stored.save()
    assert sign_in(trust_name=trust.name, jwt=ISSUER.sign(), address="192.0.2.7").text


def test_a_lifetime_is_that_of_the_trust_at_most(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER, lifetime_minutes=20)

    def enter(lifetime: timedelta) -> timedelta:
        entered = sign_in(trust_name=trust.name, jwt=ISSUER.sign(), address="192.0.2.7", lifetime=lifetime)
        assert entered.token.expires_at
        return entered.token.expires_at - timezone.now()

    assert timedelta(minutes=19) < enter(timedelta(minutes=20)) <= timedelta(minutes=20)
    assert enter(timedelta(minutes=5)) <= timedelta(minutes=5)
    with pytest.raises(InvalidField, match="20 minutes"):
        enter(timedelta(minutes=20, seconds=1))


def test_what_an_approver_reads_of_a_change(cast: Cast) -> None:
    words = proposals._word
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert words("jwks", "x" * 20) == "20 characters of keys"
    assert (words("jwks", ""), words("single_use", True), words("single_use", False)) == ("", "yes", "no")
    assert words("claims", {"sub": "b", "aud": "a"}) == "aud = a, sub = b"
    assert words("expires_at", moment) == "2026-01-02 03:04 UTC"
    assert (words("expires_at", None), words("cidrs", []), words("cidrs", ["a", "b"])) == (
        "Never",
        "Any",
        "a, b",
    )


def test_a_name_that_is_taken_is_refused_before_anybody_is_asked(cast: Cast) -> None:
    make_trust(cast, ISSUER)
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = True
    cast.production.save()
    with pytest.raises(NameInUse):
        make_trust(cast, ISSUER)
    assert not Approval.objects.exists()
