"""What is used once, by several at the same moment: one of them gets it. What ends meanwhile gives nothing."""

import threading
from typing import Any

import pytest

from environments_app.errors import Conflict, Invisible, JwtRefused, SignOnRefused
from environments_app.models import PersonalToken, ServiceToken, Trust
from environments_app.saml.protocol import replay_guard
from environments_app.saml.protocol.assertion_rules import Statement
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import device, rotation
from environments_app.tokens.service import issue
from environments_app.trusts import service as trusts
from environments_app.trusts import sign_in
from secrets_app.tests.at_once import at_once
from sync_app.rotation.execution.session import claim
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.tests.rotation.making import asked, made_policy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
HERE = "192.0.2.7"
SAID = Statement(
    response_id="r", assertion_id="a", in_response_to="q", issuer="https://idp.test", name_id="dora",
    name_id_format="", session_index="", signed_in_at=0, session_ends_at=None, attributes={},
)  # fmt: skip


def only_one(results: list[Any], refusal: type[Exception]) -> Any:
    """Return what the one got who was first; each other one was refused so."""
    got = [each for each in results if not isinstance(each, BaseException)]
    assert len(got) == 1, results
    assert all(isinstance(each, refusal) for each in results if each is not got[0]), results
    return got[0]


def test_a_code_of_a_device_gives_one_token(transactional_db: None, cast: Cast) -> None:
    code = device.start(name="laptop", address=HERE).row.user_code
    people = [cast.principal(user) for user in (cast.alice, cast.bob, cast.erin)]
    works = [lambda actor=actor: device.approve(actor=actor, code=code) for actor in people]
    assert only_one(at_once(*works), Invisible) == PersonalToken.objects.get()


def test_a_token_gets_one_successor(transactional_db: None, cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    token, _ = issue(actor=alice, environment=cast.development, name="ci", role="reader")
    only_one(at_once(*(lambda: rotation.rotate(actor=alice, token=token) for _ in range(3))), Conflict)
    assert ServiceToken.objects.count() == 2


def test_the_handle_of_an_assertion_is_taken_once(transactional_db: None, cast: Cast) -> None:
    handle = replay_guard.accept(SAID)
    taken = at_once(*(lambda: replay_guard.take(handle) for _ in range(3)))
    statement, _ = only_one(taken, SignOnRefused)
    assert statement == SAID


def test_a_rotation_is_claimed_by_one_worker(transactional_db: None, cast: Cast) -> None:
    row = asked(cast, made_policy(cast, GeneratedWorld()))
    leases = at_once(*(lambda owner=owner: claim(row.pk, owner=owner) for owner in ("one", "two", "three")))
    row.refresh_from_db()
    assert [lease.rotation.lease_owner for lease in leases if lease] == [row.lease_owner]
    assert row.attempts == 1


def test_a_sign_in_waits_for_who_narrows_its_trust(
    transactional_db: None, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is recorded and not yet committed when the sign-in begins, and is committed before it ends."""
    signer = Issuer()
    make_trust(cast, signer)
    trust = Trust.objects.select_related("environment").get()
    alice, recorded, waits = cast.principal(cast.alice), threading.Event(), threading.Event()
    record = trusts.record_trust

    def slowly(*given: Any) -> None:
        record(*given)
        recorded.set()
        waits.wait(1.5)

    monkeypatch.setattr(trusts, "record_trust", slowly)

    def enter() -> sign_in.SignedIn:
        assert recorded.wait(60)
        return sign_in.sign_in(trust_name="ci", jwt=signer.sign(), address=HERE)

    changed, entered = at_once(
        lambda: trusts.change(actor=alice, trust=trust, claims={"sub": "other"}), enter
    )
    assert isinstance(changed, Trust), changed
    assert isinstance(entered, JwtRefused), entered
    assert not ServiceToken.objects.exists()
