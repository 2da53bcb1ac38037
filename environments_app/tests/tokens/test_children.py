"""Children of tokens: never more than the parent, nor longer; ended by its end, and by what it has less of."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from environments_app.authorization.principals import load_principal, token_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import BadToken, Conflict, Forbidden, InvalidField
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import children, rotation
from environments_app.tokens.authentication import authenticate
from environments_app.tokens.children import end_token, family, issue_child, renew_token
from environments_app.tokens.service import issue, revoke
from environments_app.trusts import service as trusts
from environments_app.trusts.sign_in import sign_in
from environments_app.trusts.upkeep import purge_ended_tokens

HERE = "192.0.2.7"
Events = Callable[..., list[AuditEvent]]


def parent_of(cast: Cast, **options: Any) -> ServiceToken:
    given = {"role": "editor", "name": "ci", "environment": cast.development, **options}
    return issue(actor=cast.principal(cast.alice), **given)[0]


def child_of(
    parent: ServiceToken, *, lifetime: timedelta = timedelta(hours=1), **less: Any
) -> tuple[ServiceToken, str]:
    parent = ServiceToken.objects.select_related("environment").get(pk=parent.pk)
    return issue_child(actor=token_principal(parent), parent=parent, lifetime=lifetime, less=less)


def opens(text: str) -> bool:
    try:
        authenticate(text, address=HERE)
    except BadToken:
        return False
    return True


def test_a_child_has_less_and_is_recorded(cast: Cast, events: Events) -> None:
    parent = parent_of(cast, prefix="app")
    child, text = child_of(parent, role="reader", prefix="app/web")
    (grant,) = authenticate(text, address=HERE).grants
    assert (grant.role, grant.prefix) == ("reader", "app/web")
    assert child.expires_at is not None
    assert timedelta(0) <= timezone.now() + timedelta(hours=1) - child.expires_at < timedelta(minutes=1)
    issued = events("token.issue")[-1]
    assert issued.actor_name == "ci"
    assert str(parent.uuid) in issued.details
    assert list(run_checks()) == []


@pytest.mark.parametrize(
    "less", [{"role": "manager"}, {"prefix": ""}, {"prefix": "application"}, {"prefix": "other"}]
)
def test_more_than_the_parent_is_refused(cast: Cast, less: dict[str, Any]) -> None:
    with pytest.raises(InvalidField, match="reduced"):
        child_of(parent_of(cast, prefix="app"), **less)
    with pytest.raises(InvalidField, match="reduced"):
        child_of(parent_of(cast, cidrs=["192.0.2.0/24"]), cidrs=["192.0.0.0/16"])
    assert not ServiceToken.objects.exclude(parent_uuid=None).exists()


def test_a_child_beside_the_path_that_is_left_to_its_parent_is_ended(cast: Cast) -> None:
    parent = parent_of(cast, prefix="app")
    texts = {path: child_of(parent, prefix=path)[1] for path in ("app/web", "app/web/eu", "app/website")}
    rotation.narrow(actor=cast.principal(cast.alice), token=parent, prefix="app/web")
    assert {path for path, text in texts.items() if opens(text)} == {"app/web", "app/web/eu"}


def test_the_child_of_a_manager_manages_nothing_that_would_outlive_it(cast: Cast) -> None:
    parent = parent_of(cast, role="manager")
    child, _ = child_of(parent)
    assert child.role == "editor"
    with pytest.raises(InvalidField, match="at most an editor"):
        child_of(parent, role="manager")
    bearer = load_principal(token_principal(child))
    assert bearer.grants
    with pytest.raises(Forbidden):
        issue(actor=bearer, environment=cast.development, role="reader", name="survivor")
    for act in (rotation.rotate, rotation.narrow, revoke):
        with pytest.raises(Forbidden):
            act(actor=bearer, token=parent)
    grandchild, _ = child_of(child)
    assert grandchild.role == "editor"


def test_a_child_with_the_role_of_a_manager_opens_nothing(cast: Cast) -> None:
    child, text = child_of(parent_of(cast, role="manager"))
    assert opens(text)
    with lock_authentic(child) as stored:
        stored.role = "manager"
        stored.save()
    assert not opens(text)
    assert token_principal(stored).grants == ()


def test_it_ends_no_later_than_its_parent(cast: Cast) -> None:
    parent = parent_of(cast, expires_at=timezone.now() + timedelta(minutes=5))
    child, _ = child_of(parent, lifetime=timedelta(days=30))
    assert child.expires_at == parent.expires_at


@pytest.mark.parametrize(
    "how", ["revoked", "expired", "forged", "suspended", "less role", "less path", "less networks"]
)
def test_it_opens_nothing_where_its_parent_does_not_have_it(
    cast: Cast, sql: Callable[..., None], how: str
) -> None:
    parent, alice = parent_of(cast), cast.principal(cast.alice)
    child, text = child_of(parent)
    grandchild, below = child_of(child, role="reader", prefix="app")
    assert opens(text)
    assert opens(below)
    if how == "revoked":
        revoke(actor=alice, token=parent)
    elif how in {"expired", "suspended"}:
        setattr(
            parent,
            "expires_at" if how == "expired" else "suspended_at",
            timezone.now() - timedelta(seconds=1),
        )
        parent.save()
    elif how == "forged":
        sql("UPDATE environments_app_servicetoken SET role = 'manager' WHERE id = %s", parent.pk)
    else:
        less = {"less role": {"role": "reader"}, "less path": {"prefix": "app"}}
        rotation.narrow(actor=alice, token=parent, **less.get(how, {"cidrs": ["192.0.2.0/24"]}))
    assert not opens(text)
    assert not opens(below)
    assert load_principal(token_principal(child)).grants == ()
    assert token_principal(grandchild).grants == ()


def test_it_ends_with_the_trust_of_a_workload(cast: Cast) -> None:
    signer = Issuer()
    trust = make_trust(cast, signer)
    entered = sign_in(trust_name=trust.name, jwt=signer.sign(), address=HERE)
    _, text = child_of(entered.token)
    assert opens(text)
    trusts.delete(actor=cast.principal(cast.alice), trust=trust)
    assert not opens(text)


def test_a_parent_that_ends_meanwhile_makes_none(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = parent_of(cast)

    def meanwhile(row: ServiceToken) -> Any:
        monkeypatch.undo()
        revoke(actor=cast.principal(cast.alice), token=row)
        return lock_authentic(row)

    monkeypatch.setattr(children, "lock_authentic", meanwhile)
    with pytest.raises(Conflict, match="has ended"):
        child_of(parent)
    assert ServiceToken.objects.count() == 1


def test_who_makes_a_child_makes_it_of_its_own_token(cast: Cast) -> None:
    parent, other = parent_of(cast), parent_of(cast, name="other")
    installation, _ = issue(actor=cast.principal(cast.root), environment=None, role="admin", name="ops")
    for actor, token in (
        (token_principal(other), parent),
        (cast.principal(cast.alice), parent),
        (token_principal(installation), installation),
    ):
        with pytest.raises(Forbidden):
            issue_child(actor=actor, parent=token, less={})


def test_children_are_counted_and_four_deep(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    token = parent_of(cast)
    for _ in range(4):
        token, text = child_of(token)
        assert opens(text)
    with pytest.raises(Conflict, match="level 4"):
        child_of(token)
    assert len(family(ServiceToken.objects.get(name="ci", parent_uuid=None))) == 5
    monkeypatch.setattr(children, "_MAX_CHILDREN", 2)
    other = parent_of(cast, name="other")
    first, _ = child_of(other)
    child_of(other)
    with pytest.raises(Conflict, match="valid children"):
        child_of(other)
    end_token(actor=token_principal(other), token=first)
    child_of(other)


def test_a_token_ends_its_children_and_no_others(cast: Cast, events: Events) -> None:
    parent, other = parent_of(cast), parent_of(cast, name="other")
    child, text = child_of(parent)
    _, below = child_of(child)
    for actor, token in ((other, child), (child, parent), (parent, parent)):
        with pytest.raises(TypeError):
            end_token(actor=token_principal(actor), token=token)
    end_token(actor=token_principal(parent), token=child)
    assert not opens(text)
    assert not opens(below)
    assert len(events("token.revoke")) == 1


def test_a_child_is_replaced_by_its_parent_alone(cast: Cast) -> None:
    child, _ = child_of(parent_of(cast))
    with pytest.raises(Conflict, match="made by another"):
        rotation.rotate(actor=cast.principal(cast.alice), token=child)


def test_children_that_ended_days_ago_are_removed(cast: Cast) -> None:
    child, _ = child_of(parent_of(cast))
    ServiceToken.objects.filter(pk=child.pk).update(expires_at=timezone.now() - timedelta(days=8))
    assert purge_ended_tokens() == 1
    assert ServiceToken.objects.get().name == "ci"


def test_an_edited_parent_is_noticed(cast: Cast, sql: Callable[..., None]) -> None:
    first, second = parent_of(cast), parent_of(cast, name="other")
    child, text = child_of(first)
    sql(
        "UPDATE environments_app_servicetoken SET parent_uuid = %s WHERE id = %s",
        second.uuid.hex, child.pk,
    )  # fmt: skip
    assert not opens(text)


def longer(parent: ServiceToken, actor: ServiceToken, child: ServiceToken, minutes: int = 0) -> timedelta:
    """Renew a child, and return for how long it then lasts."""
    row = ServiceToken.objects.select_related("environment").get(pk=child.pk)
    actor = ServiceToken.objects.select_related("environment").get(pk=actor.pk)
    renewed = renew_token(actor=token_principal(actor), token=row, lifetime=timedelta(minutes=minutes))
    assert renewed.expires_at is not None
    return renewed.expires_at - timezone.now()


def renewable(parent: ServiceToken, longest: timedelta | None = timedelta(hours=3)) -> ServiceToken:
    row = ServiceToken.objects.select_related("environment").get(pk=parent.pk)
    child, _ = issue_child(
        actor=token_principal(row), parent=row, lifetime=timedelta(hours=1), longest=longest, less={}
    )
    return child


def about(duration: timedelta, minutes: int) -> bool:
    return timedelta(0) <= timedelta(minutes=minutes) - duration < timedelta(seconds=30)


def test_a_child_prolongs_itself_up_to_its_longest_time(cast: Cast, events: Events) -> None:
    parent = parent_of(cast)
    child = renewable(parent)
    assert about(longer(parent, child, child, 90), 90)
    assert about(longer(parent, child, child), 90)
    assert about(longer(parent, child, child, 600), 180)
    assert about(longer(parent, parent, child, 5), 5)
    changed = events("token.change")
    assert (len(changed), changed[-1].actor_name) == (4, "ci")
    assert '"renewed":true' in changed[-1].details.replace(" ", "")
    assert list(run_checks()) == []


def test_it_never_outlives_its_parent_nor_the_longest_that_tokens_may(cast: Cast, settings: Any) -> None:
    parent = parent_of(cast, expires_at=timezone.now() + timedelta(minutes=100))
    assert about(longer(parent, (child := renewable(parent)), child, 150), 100)
    other = parent_of(cast, name="other")
    child = renewable(other, timedelta(days=9))
    settings.KEEPER_TOKEN_MAX_DAYS = 1
    assert about(longer(other, child, child, 60 * 24 * 5), 60 * 24)


def test_what_is_not_renewable_ended_or_not_ones_own_is_not_prolonged(cast: Cast) -> None:
    parent, stranger = parent_of(cast), parent_of(cast, name="stranger")
    child, fixed = renewable(parent), renewable(parent, None)
    with pytest.raises(Conflict, match="not renewable"):
        longer(parent, fixed, fixed)
    with pytest.raises(Conflict, match="not renewable"):
        longer(parent, parent, parent)
    for other in (stranger, fixed):
        with pytest.raises(Forbidden):
            longer(parent, other, child)
    ended = renewable(parent)
    end_token(actor=token_principal(parent), token=ended)
    with pytest.raises(Conflict, match="has ended"):
        longer(parent, parent, ended)
    # The row that was read before the parent ended.
    row = ServiceToken.objects.select_related("environment").get(pk=child.pk)
    revoke(actor=cast.principal(cast.alice), token=parent)
    with pytest.raises(Conflict, match="has ended"):
        renew_token(actor=token_principal(row), token=row, lifetime=timedelta(hours=1))
