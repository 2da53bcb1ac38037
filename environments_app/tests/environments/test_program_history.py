"""Which tokens, trusts and roles of the installation there were: as the reports that were made then have it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_state import acts_on_rows, latest_digests
from audit_app.queries.reports import Scope, sections
from environments_app.authorization.effective_access import RESTORED, explain_access
from environments_app.authorization.principals import token_principal
from environments_app.environments.access_history import explain_past_access
from environments_app.environments.program_history import NO_EVENT, programs_at
from environments_app.environments.restore_suspension import TOKENS
from environments_app.environments.service import create_environment
from environments_app.models import ServiceToken, Trust, User, UserRole
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import rotation
from environments_app.tokens import service as tokens
from environments_app.tokens.children import issue_child
from environments_app.trusts import service as trusts
from environments_app.users.accounts import create_user, update_user

pytestmark = pytest.mark.every_database
USES = {"Last used", "Last sign-in"}


def report(cast: Cast, key: str, as_of: datetime | None = None) -> list[tuple[Any, ...]]:
    section, now = sections()[key], timezone.now()
    scope = Scope(viewer=cast.principal(cast.root), since=now - timedelta(1), until=now, as_of=as_of)
    rows = [dict(zip(section.columns, row, strict=True)) for row in section.rows(scope)]
    return sorted(
        tuple(str(value) for name, value in row.items() if name not in {*USES, "Issued", "Created"})
        for row in rows
    )


def test_each_report_made_then_is_the_report_as_of_then(cast: Cast) -> None:
    random, alice = Random(7), cast.principal(cast.alice)
    made = []
    for turn in range(50):
        _act(random, turn, cast, alice)
        made.append((timezone.now(), report(cast, "tokens"), report(cast, "trusts")))
    assert len({str(each[1:]) for each in made}) > 25
    for moment, its_tokens, its_trusts in made:
        assert report(cast, "tokens", moment) == its_tokens
        assert report(cast, "trusts", moment) == its_trusts


def _act(random: Random, turn: int, cast: Cast, alice: Any) -> None:
    act, place = random.randrange(7), random.choice([cast.development, cast.production])
    live = ServiceToken.objects.filter(revoked_at=None, successors=None).select_related("environment")
    token = random.choice([*live.order_by("pk"), None])
    trust = random.choice([*Trust.objects.select_related("environment").order_by("pk"), None])
    if act == 0 or token is None:
        role, prefix = random.choice(["viewer", "reader", "editor"]), random.choice(["", "app"])
        tokens.issue(actor=alice, environment=place, role=role, prefix=prefix, name=f"token-{turn}")
    elif act == 1:
        tokens.revoke(actor=alice, token=token)
    elif act == 2:
        rotation.narrow(actor=alice, token=token, role="viewer", cidrs=["192.0.2.0/24"])
    elif act == 3:
        rotation.rotate(actor=alice, token=token)
    elif act == 4 or trust is None:
        make_trust(cast, Issuer(), environment=place, name=f"trust-{turn}")
    elif act == 5:
        trusts.change(actor=alice, trust=trust, enabled=trust.disabled_at is not None, prefix="app")
    else:
        trusts.delete(actor=alice, trust=trust)


def test_the_ways_of_a_day_are_those_that_the_page_had_then(
    cast: Cast, signed_in: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, yesterday = cast.principal(cast.root), timezone.now() - timedelta(days=1)
    with monkeypatch.context() as clock:
        clock.setattr(timezone, "now", lambda: yesterday)
        place = create_environment(actor=root, name="staging")
        tokens.issue(actor=root, environment=place, role="reader", name="kept", prefix="app")
        ended, _ = tokens.issue(actor=root, environment=place, role="editor", name="ended")
        child, _ = issue_child(actor=token_principal(ended), parent=ended, less={})
        # As it is prolonged.
        tokens.record_token(root, Action.TOKEN_CHANGE, child)
        trust = trusts.create(
            actor=root, environment=place, preset="oidc", name="cd", issuer="https://issuer.test",
            jwks=Issuer().jwks(), audience="https://keeper.test", algorithm=Issuer().algorithm,
            claims={"sub": "a"}, role="reader",
        )  # fmt: skip
        create_user(actor=root, username="ann", role=UserRole.AUDITOR)
        create_user(actor=root, username="ben")
        then = explain_access(actor=root, environment=place, name="app/db")
    tokens.revoke(actor=root, token=ended)
    trusts.delete(actor=root, trust=trust)
    for name, role in (("ann", UserRole.USER), ("ben", UserRole.ADMIN)):
        update_user(actor=root, user=User.objects.get(username=name), role=role)

    def shown(ways: Any) -> list[tuple[Any, ...]]:
        # The accounts of the cast are of today.
        return sorted(
            (way.kind, way.who, way.via, str(way.role), way.prefix, {*way.hindrances})
            for way in ways
            if (way.who, way.via) != ("root", "administrator role")
        )

    day = yesterday.astimezone(UTC).date()
    past = explain_past_access(actor=root, environment=place, day=day, name="app/db")
    assert shown(past) == shown(then)
    assert {(way.kind, way.who) for way in past} == {
        ("person", "root"), ("person", "ann"), ("token", "kept"), ("token", "ended"), ("trust", "cd"),
    }  # fmt: skip
    client, page = signed_in(cast.root), f"/environments/staging/access?as_of={day}"
    assert "kpr_" in client.get(page).content.decode()
    one = client.get(f"/api{page}&token=ended").json()["ways"]
    assert [(way["kind"], way["reads"]) for way in one] == [("token", True)]
    today = explain_past_access(actor=root, environment=place, day=timezone.now().astimezone(UTC).date())
    assert {way.who for way in today} == {"root", "ben", "kept"}


def test_what_a_restore_suspended_was_void_until_its_release(cast: Cast) -> None:
    root = cast.principal(cast.root)
    token, _ = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.production, role="reader", name="ci"
    )
    since = timezone.now()
    TOKENS.suspend(actor=root, at=since, states=latest_digests(acts_on_rows()))
    moments = [timezone.now()]
    TOKENS.release(actor=root, uuid=token.uuid, since=since)
    moments.append(timezone.now())
    found = [programs_at(cast.production, moment)[0].hindrances(moment) for moment in moments]
    assert found == [(RESTORED,), ()]


def test_a_program_without_an_event_is_shown_and_named(cast: Cast) -> None:
    made = timezone.now()
    ServiceToken.objects.create(environment=cast.production, role="reader", name="old", public_id="x" * 22)
    (one,) = programs_at(cast.production, timezone.now())
    assert (one.name, one.hindrances(timezone.now())) == ("old", (NO_EVENT,))
    assert programs_at(cast.production, made) == []
