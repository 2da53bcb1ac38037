"""What the pages show of rows: plans in words, targets with their states, delivery on secrets."""

from collections.abc import Callable

import pytest
from django.test import Client

from environments_app.models import Membership
from environments_app.tests.cast import Cast
from secrets_app.services import write
from secrets_app.tests.kept import VALUE, keep
from sync_app.domain.delivery_state import DeliveryState
from sync_app.domain.reconciliation import Reason
from sync_app.models import Plan, SyncEntry, Target
from sync_app.tests.shown import make_entry, make_item, make_plan, make_run, make_target

pytestmark = pytest.mark.every_database_weekly
SignedIn = Callable[..., Client]


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.development)


@pytest.fixture
def alice(cast: Cast, signed_in: SignedIn) -> Client:
    return signed_in(cast.alice)


def text(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return " ".join(response.content.decode().split())


# --- Plans ---------------------------------------------------------------------------------------


@pytest.fixture
def plan(cast: Cast, target: Target) -> Plan:
    secret = keep(cast, "payments/db")
    make_entry(target, secret, DeliveryState.PENDING, base_number=30)
    made = make_plan(target, counts={"unchanged": 412})
    make_item(made, "payments/db", "update", secret_uuid=secret.uuid, there_number=30, keeper_number=31)
    make_item(made, "web/new", "create", keeper_number=1)
    make_item(made, "search/index-key", "conflict", reason="changed on both sides")
    make_item(made, "legacy/key", "unmanaged", state="skipped")
    return made


def test_a_plan_says_what_would_happen(alice: Client, plan: Plan) -> None:
    page = text(alice, f"/sync/plans/{plan.pk}")
    assert "no changes made yet" in page
    assert "Apply 2 changes" in page
    assert "deletion is off" in page
    assert "<b>412</b> unchanged" in page
    assert "v30 → v31" in page
    assert VALUE not in page


def test_an_old_line_keeps_the_versions_that_it_had(alice: Client, plan: Plan) -> None:
    SyncEntry.objects.filter(target=plan.target).update(base_number=44)
    Plan.objects.filter(pk=plan.pk).update(state="done")
    assert "v30 → v31" in text(alice, f"/sync/plans/{plan.pk}")


@pytest.mark.parametrize(
    ("searched", "found"),
    [("PAYMENTS", "payments/db"), ("changed on both", "search/index-key"), ("legacy", "legacy/key")],
)
def test_a_plan_is_searched_by_names_and_reasons(
    alice: Client, plan: Plan, searched: str, found: str
) -> None:
    page = text(alice, f"/sync/plans/{plan.pk}?q={searched}")
    assert page.count("plan-name") == 1
    assert found.rpartition("/")[2] in page
    assert "No items match" in text(alice, f"/sync/plans/{plan.pk}?q=nothing")


def test_deletions_over_the_budget_wait_for_a_person(alice: Client, plan: Plan) -> None:
    assert "Plan these deletions" not in text(alice, f"/sync/plans/{plan.pk}")
    make_item(plan, "app/gone", "refused", reason=f"{Reason.OVER_BUDGET}: 2 to delete")
    assert "Plan these deletions" in text(alice, f"/sync/plans/{plan.pk}")


def test_what_lost_its_ownership_is_adopted_again_from_there(
    alice: Client, cast: Cast, target: Target
) -> None:
    secret = keep(cast, "app/lost")
    make_entry(target, secret, DeliveryState.OWNERSHIP_LOST, ownership="created")
    made = make_plan(target, state="done")
    make_item(made, "app/lost", "ownership_lost", state="skipped")
    make_item(made, "app/other", "unmanaged", state="skipped")
    link = f"/sync/{target.pk}/adopt?name=app/lost"
    for path in (f"/sync/{target.pk}", f"/sync/plans/{made.pk}"):
        assert link in text(alice, path)
    assert "import again" in text(alice, f"/secrets/{secret.pk}")
    page = text(alice, link)
    assert 'value="app/lost"' in page
    assert 'value="app/other"' not in page


def test_a_failed_delivery_is_synced_again_from_the_secret(
    alice: Client, cast: Cast, signed_in: SignedIn, target: Target
) -> None:
    secret = keep(cast, "app/lost")
    make_entry(target, secret, DeliveryState.FAILED, reason="the policy lacks create")
    again = f'action="/sync/{target.pk}/sync"'
    assert again in text(alice, f"/secrets/{secret.pk}")
    assert again not in text(signed_in(cast.vera), f"/secrets/{secret.pk}")
    SyncEntry.objects.filter(target=target).update(state=DeliveryState.IN_SYNC)
    assert again not in text(alice, f"/secrets/{secret.pk}")


def test_a_conflict_offers_both_sides_on_its_line(alice: Client, plan: Plan) -> None:
    page = text(alice, f"/sync/plans/{plan.pk}")
    assert "Use Keeper’s value: search/index-key" in page
    assert "Use the target’s value: search/index-key" in page


def test_a_viewer_sees_a_plan_and_no_button(cast: Cast, signed_in: SignedIn, plan: Plan) -> None:
    page = text(signed_in(cast.vera), f"/sync/plans/{plan.pk}")
    assert "An editor can apply it" in page
    assert "Use Keeper’s value" not in page


def test_a_ready_plan_does_not_ask_again_by_itself(alice: Client, plan: Plan) -> None:
    assert "hx-trigger" not in text(alice, f"/sync/plans/{plan.pk}").split('id="plan"')[1].split(">")[0]


@pytest.mark.parametrize("state", ["making", "applying"])
def test_a_plan_under_way_asks_again_and_stops_when_it_is_done(alice: Client, plan: Plan, state: str) -> None:
    Plan.objects.filter(pk=plan.pk).update(state=state)
    live = alice.get(f"/sync/plans/{plan.pk}", headers={"HX-Request": "true"}).content.decode()
    assert live.startswith('<div id="plan"'), "the part alone"
    assert 'hx-trigger="every 2s"' in live
    Plan.objects.filter(pk=plan.pk).update(state="done")
    assert (
        "hx-trigger"
        not in alice.get(f"/sync/plans/{plan.pk}", headers={"HX-Request": "true"}).content.decode()
    )


def test_a_failure_stays_on_its_line_with_its_remedy(alice: Client, plan: Plan) -> None:
    plan.items.filter(name="web/new").update(
        state="failed", error="the policy lacks create on secret/data/team/*", permanent=True
    )
    plan.items.filter(name="payments/db").update(state="done")
    page = text(alice, f"/sync/plans/{plan.pk}")
    assert "The policy lacks create on secret/data/team/*. Fix the cause, then refresh the plan." in page


@pytest.mark.parametrize(("state", "word"), [("applying", "applying"), ("failed", "not applied")])
def test_what_was_begun_is_not_being_written_once_the_plan_failed(
    alice: Client, plan: Plan, state: str, word: str
) -> None:
    plan.items.filter(name="web/new").update(state="intended")
    Plan.objects.filter(pk=plan.pk).update(state=state)
    page = text(alice, f"/sync/plans/{plan.pk}")
    assert [each for each in ("applying", "not applied") if each in page] == [word]


def test_what_a_plan_only_looks_at_is_not_called_skipped(alice: Client, plan: Plan) -> None:
    assert "skipped" not in text(alice, f"/sync/plans/{plan.pk}")


def test_many_items_of_an_act_are_paged(alice: Client, target: Target) -> None:
    plan = make_plan(target)
    for number in range(130):
        make_item(plan, f"n/{number:03}", "create")
    page = text(alice, f"/sync/plans/{plan.pk}")
    assert (page.count("plan-name"), "All 130" in page) == (50, True)
    first = text(alice, f"/sync/plans/{plan.pk}?act=create")
    assert first.count("plan-name") == 100
    assert text(alice, f"/sync/plans/{plan.pk}?act=create&after=n/099").count("plan-name") == 30


def test_both_sides_of_a_conflict_are_masked(alice: Client, cast: Cast, target: Target) -> None:
    secret = keep(cast, "search/index-key")
    plan = make_plan(target)
    item = make_item(
        plan,
        "search/index-key",
        "conflict",
        secret_uuid=secret.uuid,
        keeper_number=1,
        target_presence="present",
        target_version="4",
    )
    page = text(alice, f"/sync/plans/{plan.pk}/items/{item.pk}")
    assert page.count('class="masked"') == 2
    assert VALUE not in page


def test_a_version_that_names_its_time_is_shown_in_words(alice: Client, target: Target) -> None:
    plan = make_plan(target)
    for version, shown in (("2@2026-11-28T10:21:00.123456789Z", True), ("2@later", False), ("abc", False)):
        fields = {"target_presence": "present", "target_version": version}
        item = make_item(plan, f"a/{version[-3:]}", "drifted", **fields)
        page = text(alice, f"/sync/plans/{plan.pk}/items/{item.pk}")
        assert ("version 2, written " in page) == shown


def test_a_decision_waits_for_a_new_look_once_keeper_moved_on(
    alice: Client, cast: Cast, target: Target
) -> None:
    secret = keep(cast, "search/index-key")
    item = make_item(make_plan(target), secret.name, "conflict", secret_uuid=secret.uuid, keeper_number=1)
    for moved_on in (False, True):
        if moved_on:
            write.update(actor=cast.principal(cast.alice), secret=secret, value="newer")
        page = text(alice, f"/sync/plans/{item.plan_id}/items/{item.pk}")
        found = (f"/sync/plans/{item.plan_id}/again" in page, 'value="keep_ours"' in page)
        assert found == (moved_on, not moved_on)


def test_what_one_may_not_see_is_not_there(cast: Cast, signed_in: SignedIn, plan: Plan) -> None:
    client = signed_in(cast.charlie)
    for path in (f"/sync/plans/{plan.pk}", f"/sync/{plan.target_id}", "/sync/plans/987654", "/sync/987654"):
        assert client.get(path).status_code == 404


# --- Targets -------------------------------------------------------------------------------------


def test_an_empty_list_teaches(alice: Client) -> None:
    assert "never deletes unless you allow it" in text(alice, "/sync")


def test_a_list_counts_states_and_names_the_last_error(alice: Client, cast: Cast, target: Target) -> None:
    make_entry(target, None, DeliveryState.DRIFTED, name="a")
    make_entry(target, None, DeliveryState.DRIFTED, name="b")
    Target.objects.update(last_error="the token has expired")
    page = text(alice, "/sync")
    assert f"/sync/{target.pk}?state=drifted" in page
    assert "the token has expired" in page


def test_a_target_filters_by_state_and_name(alice: Client, target: Target) -> None:
    for name, state in (
        ("pay/a", DeliveryState.IN_SYNC),
        ("pay/b", DeliveryState.MISSING),
        ("web/c", DeliveryState.MISSING),
    ):
        make_entry(target, None, state, name=name)
    page = text(alice, f"/sync/{target.pk}?state=missing&q=pay")
    assert page.count("<tr>") - 1 == 1
    assert "pay/<wbr>b" in page


def test_a_run_under_way_is_shown_live(alice: Client, target: Target) -> None:
    make_run(target)
    assert 'hx-trigger="every 2s"' in text(alice, f"/sync/{target.pk}")


def test_a_target_narrowed_to_a_prefix_is_seen_by_those_who_have_the_prefix(
    cast: Cast, signed_in: SignedIn
) -> None:
    target = make_target(cast.development, scope="payments")
    Membership.objects.create(
        environment=cast.development, user=cast.charlie, role="viewer", prefix="payments"
    )
    assert target.name in text(signed_in(cast.charlie), "/sync")


def test_credentials_are_never_shown(alice: Client, target: Target) -> None:
    for path in (f"/sync/{target.pk}", f"/sync/{target.pk}/credentials", f"/sync/{target.pk}/rules"):
        assert "s.example" not in text(alice, path)


# --- On secrets ----------------------------------------------------------------------------------


def test_a_secret_shows_where_it_is(alice: Client, cast: Cast, target: Target) -> None:
    secret = keep(cast, "payments/db")
    make_target(cast.development, "elsewhere", scope="web")
    make_entry(target, secret, DeliveryState.DRIFTED, reason="changed in target")
    page = text(alice, f"/secrets/{secret.pk}")
    assert "drifted" in page
    assert "changed in target" in page
    assert "elsewhere" not in page, "its scope does not cover the secret"


def test_a_secret_that_no_target_covers_has_no_delivery(alice: Client, cast: Cast) -> None:
    assert "delivery-title" not in text(alice, f"/secrets/{keep(cast).pk}")


def test_the_list_shows_delivery_and_is_narrowed_by_it(alice: Client, cast: Cast, target: Target) -> None:
    make_entry(target, keep(cast, "a/drifted"), DeliveryState.DRIFTED)
    make_entry(target, keep(cast, "a/synced"), DeliveryState.IN_SYNC)
    assert "Sync</th>" in text(alice, "/secrets")
    page = text(alice, "/secrets?delivery=drifted")
    assert "a/<wbr>drifted" in page
    assert "a/<wbr>synced" not in page


def test_the_api_is_narrowed_by_delivery_too(
    cast: Cast, bearer: Callable[..., Client], target: Target
) -> None:
    make_entry(target, keep(cast, "a/drifted"), DeliveryState.DRIFTED)
    keep(cast, "a/other")
    client = bearer("viewer", cast.development)
    found = client.get("/api/secrets?delivery=drifted").json()
    assert [row["name"] for row in found.get("results", found.get("secrets", []))] == ["a/drifted"]
    assert client.get("/api/secrets?delivery=nonsense").status_code == 400


def test_a_target_that_one_may_not_see_is_not_named(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="manager", prefix="part")
    for name, scope in (("hidden", ""), ("open", "part")):
        make_entry(make_target(cast.development, name, scope=scope), secret, DeliveryState.CONFLICT)
    charlie, alice = signed_in(cast.charlie), signed_in(cast.alice)
    for path in ("/secrets", f"/secrets/{secret.pk}"):
        page = text(charlie, path)
        assert ("another target" in page, "hidden<" in page, "open<" in page) == (True, False, True), path
        page = text(alice, path)
        assert ("another target" in page, "hidden<" in page, "open<" in page) == (False, True, True), path


def test_targets_that_one_may_not_see_are_counted_in_one_cell(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="viewer", prefix="part")
    for name, state in (("one", DeliveryState.IN_SYNC), ("two", DeliveryState.FAILED)):
        make_entry(make_target(cast.development, name), secret, state)
    page = text(signed_in(cast.charlie), "/secrets")
    assert "another target" not in page
    # Once in the column and once in the line that narrow windows show.
    assert (page.count("2 other targets"), page.count("state-bad")) == (2, 2)


def test_nor_does_why_it_failed_tell_where_it_is(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "part/key", environment=cast.development)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="viewer", prefix="part")
    for name, scope in (("hidden", ""), ("open", "part")):
        target = make_target(cast.development, name, scope=scope)
        make_entry(
            target,
            secret,
            DeliveryState.FAILED,
            reason=f"the token's policy lacks update on {name}-mount/key",
        )
    told = {who: text(signed_in(who), f"/secrets/{secret.pk}") for who in (cast.charlie, cast.alice)}
    assert ["hidden-mount" in told[who] for who in (cast.charlie, cast.alice)] == [False, True]
    assert ["open-mount" in told[who] for who in (cast.charlie, cast.alice)] == [True, True]


def test_what_was_refused_stays_in_sight(alice: Client, cast: Cast, target: Target) -> None:
    secret = keep(cast, "app/key")
    item = make_item(make_plan(target), secret.name, "conflict")
    make_entry(target, secret, DeliveryState.REFUSED)
    plan = make_plan(target, state="done", options={"choice": "keep_ours"})
    make_item(plan, secret.name, "refused")
    make_run(target, state="done", plan=plan)
    for path in (f"/sync/{target.pk}", f"/secrets/{secret.pk}"):
        assert f"/sync/plans/{item.plan_id}/items/{item.pk}" in text(alice, path), path
    assert "done, 1 refused" in text(alice, f"/sync/{target.pk}")


def test_what_needs_a_decision_leads_to_where_it_is_taken(
    cast: Cast, signed_in: SignedIn, target: Target
) -> None:
    changed, even = keep(cast, "app/changed"), keep(cast, "app/even")
    make_entry(target, changed, DeliveryState.CONFLICT)
    make_entry(target, even, DeliveryState.IN_SYNC)
    older = make_item(make_plan(target), "app/changed", "conflict")
    item = make_item(make_plan(target), "app/changed", "conflict")
    # Elsewhere the same name is in order, and has a newer plan.
    elsewhere = make_target(cast.development, "elsewhere")
    make_entry(elsewhere, changed, DeliveryState.IN_SYNC)
    make_item(make_plan(elsewhere), "app/changed", "conflict")
    alice, vera = signed_in(cast.alice), signed_in(cast.vera)
    page = text(alice, f"/sync/{target.pk}")
    assert f'href="/secrets/{changed.pk}"' in page
    assert f'href="/secrets/{even.pk}"' in page
    for path in (f"/sync/{target.pk}", f"/secrets/{changed.pk}"):
        page = text(alice, path)
        assert page.count("resolve") == 1
        assert f'href="/sync/plans/{item.plan_id}/items/{item.pk}"' in page
        assert f"/items/{older.pk}" not in page
        assert "resolve" not in text(vera, path)
        assert "compare" in text(vera, path)
    assert "/items/" not in text(alice, f"/secrets/{even.pk}")


def test_the_list_says_that_it_is_of_one_environment_and_that_others_fail(
    cast: Cast, signed_in: Callable[..., Client]
) -> None:
    failing = make_target(cast.development)
    Target.objects.filter(pk=failing.pk).update(failures=1, last_error="away")
    page = text(signed_in(cast.alice), "/sync?environment=production")
    assert "1 target in other environments fails." in page
    assert 'href="/sync">Show all' in page
    # Who does not see the other environment learns nothing of it.
    hidden = signed_in(cast.charlie).get("/sync?environment=production").content.decode()
    assert "in other environments" not in hidden
    assert "Show all" not in text(signed_in(cast.alice), "/sync")
