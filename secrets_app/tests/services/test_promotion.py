"""Promotion: what was chosen and seen arrives in the other environment, with rights and records on both sides."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.test import Client

from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from core.errors import KeeperError
from environments_app.approvals.service import approve, carry_out
from environments_app.errors import Forbidden, Invisible
from environments_app.models import Approval, Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.errors import TooManyItems
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import find_secret_by_name
from secrets_app.services import lifecycle, read, write
from secrets_app.services.comparison import MAX_PROMOTED, Promotion, PromotionChanged, plan_promotion, promote
from secrets_app.tests.kept import VALUE, change, keep
from secrets_app.values.batch_results import ItemResult

pytestmark = pytest.mark.every_database_weekly

Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def sides(cast: Cast) -> Cast:
    """`new` is only in development, `same` equal and `other` different in production, `theirs` only there."""
    for name, left, right in (
        ("new", VALUE, None),
        ("same", "s", "s"),
        ("other", VALUE, "x"),
        ("theirs", None, "t"),
    ):
        for environment, value in ((cast.development, left), (cast.production, right)):
            if value:
                keep(cast, name, value, environment=environment)
    return cast


def plan(cast: Cast, *names: str) -> Promotion:
    alice = cast.principal(cast.alice)
    return plan_promotion(actor=alice, source=cast.development, target=cast.production, names=names)


def value_in_production(cast: Cast, name: str) -> str:
    secret = Secret.objects.select_related("environment").get(
        environment=cast.production, name=name, live=True
    )
    return read.reveal(actor=cast.principal(cast.alice), secret=secret).value


def test_a_plan_of_other_names_is_another_plan(sides: Cast) -> None:
    keep(sides, "also-new", VALUE, environment=sides.development)
    assert plan(sides, "new").lines[0].verdict == plan(sides, "also-new").lines[0].verdict == "new"
    assert plan(sides, "new").digest != plan(sides, "also-new").digest


def test_it_says_what_it_would_do_and_then_does_that(sides: Cast, events: Events) -> None:
    names = ["new", "same", "other", "theirs", "nowhere"]
    seen = plan(sides, *names)
    assert {line.row.name: line.verdict for line in seen.lines} == {
        "new": "new",
        "same": "same",
        "other": "changed",
        "theirs": "refused",
    }
    assert Secret.objects.filter(environment=sides.production).count() == 3

    results = promote(
        actor=sides.principal(sides.alice),
        source=sides.development,
        target=sides.production,
        names=names,
        digest=seen.digest,
    )

    assert [(result.name, result.done, result.word) for result in results] == [
        ("new", True, "created"),
        ("other", True, "changed"),
    ]
    assert (value_in_production(sides, "new"), value_in_production(sides, "other")) == (VALUE, VALUE)
    changed = SecretVersion.objects.get(secret__name="other", secret__environment=sides.production, number=2)
    assert changed.comment == "promoted"
    assert (value_in_production(sides, "theirs"), value_in_production(sides, "same")) == ("t", "s")
    # Each value that left development is recorded there before it was opened.
    assert {event.object_name for event in events("secret.copy")} == {"new", "other"}
    assert list(run_checks()) == []


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_changed_since_it_was_seen_is_not_written(sides: Cast, side: str) -> None:
    seen = plan(sides, "other")
    environment = sides.development if side == "source" else sides.production
    change(sides, Secret.objects.get(environment=environment, name="other"), "later")

    with pytest.raises(PromotionChanged):
        promote(
            actor=sides.principal(sides.alice),
            source=sides.development,
            target=sides.production,
            names=["other"],
            digest=seen.digest,
        )

    assert value_in_production(sides, "other") == ("later" if side == "target" else "x")


def taken_over(cast: Cast, name: str, side: str, how: str) -> Secret:
    """Let another secret take the name, with the same number."""
    environment = cast.development if side == "source" else cast.production
    alice, secret = cast.principal(cast.alice), Secret.objects.get(environment=environment, name=name)
    if how == "rename":
        lifecycle.rename(actor=alice, secret=secret, name=f"{name}-away")
    else:
        lifecycle.delete(actor=alice, secret=secret)
        lifecycle.purge(actor=alice, secret=Secret.objects.get(pk=secret.pk))
    return keep(cast, name, "of another", environment=environment)


SWAPS = [(side, how) for side in ("source", "target") for how in ("rename", "purge")]


@pytest.mark.parametrize(("side", "how"), SWAPS)
@pytest.mark.parametrize("late", [False, True])
def test_another_secret_that_took_the_name_since_is_neither_promoted_nor_overwritten(
    sides: Cast, monkeypatch: pytest.MonkeyPatch, side: str, how: str, late: bool
) -> None:
    """Late: between the plan that the promotion makes for itself and the write."""
    seen = plan(sides, "other")

    def meanwhile(**options: Any) -> Secret:
        monkeypatch.undo()
        taken_over(sides, "other", side, how)
        return find_secret_by_name(**options)

    def promoted() -> list[ItemResult]:
        return promote(
            actor=sides.principal(sides.alice),
            source=sides.development,
            target=sides.production,
            names=["other"],
            digest=seen.digest,
        )

    if late:
        monkeypatch.setattr("secrets_app.services.comparison.find_secret_by_name", meanwhile)
        assert not promoted()[0].done
    else:
        assert taken_over(sides, "other", side, how).current_number == 1
        with pytest.raises(PromotionChanged):
            promoted()
    assert value_in_production(sides, "other") == ("x" if side == "source" else "of another")


@pytest.mark.parametrize(("name", "side", "how"), [("new", *SWAPS[0]), *(("other", *swap) for swap in SWAPS)])
def test_an_approval_promotes_no_other_secret_that_took_the_name(
    sides: Cast, name: str, side: str, how: str
) -> None:
    """The request holds the value that was seen, and names the secret that it is to change."""
    Membership.objects.create(environment=sides.production, user=sides.erin, role=Role.MANAGER)

    def protect(protected: bool) -> None:
        sides.production.protected = protected
        sides.production.save()

    protect(True)
    alice = sides.principal(sides.alice)
    (result,) = promote(
        actor=alice,
        source=sides.development,
        target=sides.production,
        names=[name],
        digest=plan(sides, name).digest,
    )
    assert not result.done
    protect(False)
    taken_over(sides, name, side, how)
    protect(True)

    # The value of "other" is in the request; all else was of a secret that has gone.
    with nullcontext() if (name, side) == ("other", "source") else pytest.raises(KeeperError):
        approved = approve(actor=sides.principal(sides.erin), approval=Approval.objects.get())
        carry_out(actor=sides.principal(sides.alice), approval=approved)

    if name == "new":
        assert not Secret.objects.filter(environment=sides.production, name="new").exists()
    else:
        assert value_in_production(sides, name) == (VALUE if side == "source" else "of another")


def test_a_name_that_exists_and_is_not_compared_is_no_new_one(sides: Cast) -> None:
    keep(sides, "new", "d", environment=sides.production, decoy=True)
    (line,) = plan(sides, "new").lines
    assert (line.verdict, line.reason) == ("refused", "It exists in production, where it is not compared.")


def test_it_needs_the_right_to_reveal_on_both_sides_and_to_write_there(sides: Cast) -> None:
    erin = sides.principal(sides.erin)
    with pytest.raises(Invisible):
        plan_promotion(actor=erin, source=sides.development, target=sides.production, names=["new"])
    Membership.objects.create(environment=sides.production, user=sides.erin, role="viewer")
    with pytest.raises(Forbidden):
        plan_promotion(
            actor=sides.principal(sides.erin),
            source=sides.development,
            target=sides.production,
            names=["new"],
        )
    Membership.objects.create(environment=sides.production, user=sides.bob, role="reader")
    refused = plan_promotion(
        actor=sides.principal(sides.bob),
        source=sides.development,
        target=sides.production,
        names=["new", "other"],
    )
    assert [line.verdict for line in refused.lines] == ["refused", "refused"]


@pytest.mark.parametrize(("name", "side"), [("other", "source"), ("other", "target"), ("new", "target")])
def test_what_changes_after_the_plan_was_made_again_is_not_written(
    sides: Cast, monkeypatch: pytest.MonkeyPatch, name: str, side: str
) -> None:
    """Somebody writes between the plan that the promotion makes for itself and the write."""
    environment = sides.development if side == "source" else sides.production
    seen = plan(sides, name)

    def meanwhile(**options: Any) -> Secret:
        monkeypatch.undo()
        write.put(actor=sides.principal(sides.alice), environment=environment, name=name, value="later")
        return find_secret_by_name(**options)

    monkeypatch.setattr("secrets_app.services.comparison.find_secret_by_name", meanwhile)
    (result,) = promote(
        actor=sides.principal(sides.alice),
        source=sides.development,
        target=sides.production,
        names=[name],
        digest=seen.digest,
    )

    assert not result.done
    assert value_in_production(sides, name) == ("later" if side == "target" else "x")


def test_no_more_than_two_hundred_are_compared_at_once(sides: Cast, events: Events) -> None:
    names = [f"n{number}" for number in range(MAX_PROMOTED)]
    with pytest.raises(TooManyItems):
        plan(sides, *names, "other")
    assert events("secret.compare") == []
    assert [line.row.name for line in plan(sides, *names[1:], "other").lines] == ["other"]


def test_what_is_promoted_never_becomes_a_reference(sides: Cast) -> None:
    keep(sides, "theft", "${production/theirs}")
    onto = keep(sides, "theft", "${production/same}", environment=sides.production, uses_references=True)
    seen = plan(sides, "theft")
    (result,) = promote(
        actor=sides.principal(sides.alice),
        source=sides.development,
        target=sides.production,
        names=["theft"],
        digest=seen.digest,
    )
    assert (result.done, "stays literal" in result.reason) == (False, True)
    assert Secret.objects.get(pk=onto.pk).current_number == 1


def test_the_page_compares_previews_and_promotes(sides: Cast, signed_in: Callable[[User], Client]) -> None:
    browser = signed_in(sides.alice)
    places = {"left": "development", "right": "production"}
    compared = browser.post("/secrets/matrix?with=development,production", {"act": "differences"})
    cells = {
        row["name"]: [cell.get("difference") for cell in row["cells"]] for row in compared.context["rows"]
    }
    assert cells == {"new": ["", None], "other": ["same", "different"], "theirs": [None, ""]}
    assert [count for _, _, count in compared.context["summary"]] == [1, 2, 1]
    assert VALUE not in compared.content.decode()
    preview = browser.post("/secrets/matrix", places | {"act": "promotion", "names": ["new", "other"]})
    digest = preview.context["promotion"].digest
    form = places | {"act": "promote", "names": ["new", "other"], "digest": digest}
    done = browser.post("/secrets/matrix", form)

    assert "2 of 2 promoted" in done.content.decode()
    assert value_in_production(sides, "new") == VALUE


def test_into_a_protected_environment_its_name_is_typed_and_a_second_person_decides(
    sides: Cast, signed_in: Callable[[User], Client]
) -> None:
    sides.production.protected = True
    sides.production.save()
    browser = signed_in(sides.alice)
    form = {"left": "development", "right": "production", "act": "promotion", "names": ["new"]}
    form |= {"digest": browser.post("/secrets/matrix", form).context["promotion"].digest, "act": "promote"}
    for typed in ({}, {"typed": "development"}):
        assert "Type its name" in browser.post("/secrets/matrix", form | typed).content.decode()
    assert not Approval.objects.exists()
    browser.post("/secrets/matrix", form | {"typed": "production"})
    assert Approval.objects.get().object_name == "new"
    assert Secret.objects.filter(environment=sides.production).count() == 3


def test_the_page_takes_no_environment_whose_values_one_may_not_reveal(
    sides: Cast, signed_in: Callable[[User], Client], events: Events
) -> None:
    page = signed_in(sides.bob).post(
        "/secrets/matrix",
        {"left": "development", "right": "production", "act": "promotion", "names": ["new"]},
    )
    assert page.status_code == 422
    assert events("secret.compare") == []
