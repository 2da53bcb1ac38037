"""GitHub Actions: what it cannot prove, races, names, limits, rate limits and permissions, on a strict stand-in."""

import html
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.tests.cast import Cast
from sync_app.applying import service as applying
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import Grant
from sync_app.backends.github import backend as github_backend
from sync_app.backends.github.backend import GitHubActions
from sync_app.backends.github.tests.strict_server import APP_ID, ENVIRONMENT, INSTALLATION, GitHub
from sync_app.backends.github.tests.strict_server import TOKEN as BEARER
from sync_app.backends.github.tests.world import GitHubWorld
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.backends.rest import RestAnswer, RestClient
from sync_app.backends.timed import Window
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    BadDestination,
    ChangedSinceRead,
    CredentialsRejected,
    DestinationTaken,
    MountMissing,
    NameUnusable,
    OutcomeUnknown,
    Overwritten,
    PermissionMissing,
    SystemMismatch,
    TargetBusy,
    TargetUnreachable,
)
from sync_app.models import PlanItem, Run
from sync_app.models.plan import PlanKind
from sync_app.models.target import Intent
from sync_app.planning import sync_entries
from sync_app.runs import runner
from sync_app.targets.destinations import require_same_system
from sync_app.tests.applying.stage import Stage, target_in
from sync_app.tests.strict_application import Refused

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))


@pytest.fixture
def backend(github: GitHubWorld) -> Iterator[Backend]:
    with github.backend() as made:
        yield made


@pytest.fixture
def stage(cast: Cast, github: GitHubWorld) -> Stage:
    return Stage(cast, github)


def reasons(stage: Stage) -> dict[str, tuple[str, str]]:
    rows = PlanItem.objects.filter(plan=stage.plan()).values_list("name", "act", "reason")
    return {name: (act, reason) for name, act, reason in rows}


def test_what_another_client_made_in_between_is_reported(github: GitHubWorld, backend: Backend) -> None:
    path = f"{github.prefix}/a"
    github.github.before["put"] = lambda: github.write(path, "theirs")
    with pytest.raises(Overwritten, match="could not be restored") as caught:
        backend.create("a", "canary-ours", mark=MARK, token=TOKEN)
    assert "canary" not in str(caught.value)


def test_what_was_written_just_after_is_no_success(github: GitHubWorld, backend: Backend) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)

    def later() -> None:
        github.github.now += 60
        github.write(f"{github.prefix}/a", "theirs")

    # The first look is before the write, the second after it.
    github.github.before["put"] = lambda: github.github.before.update(get=later)
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "ours", token=OTHER_TOKEN)
    assert github.value(f"{github.prefix}/a") == "theirs"


def test_a_lost_answer_is_found_again(github: GitHubWorld, backend: Backend) -> None:
    github.github.failing["put"] = 0
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    github.github.failing["put"] = 0
    after = backend.update(made, "2", token=OTHER_TOKEN)
    assert after == backend.get_metadata("a")
    assert github.value(f"{github.prefix}/a") == "2"
    assert github.github.calls["put"] == 2


def test_a_lost_answer_is_found_again_by_a_worker_that_stood_still(
    github: GitHubWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a machine that swaps: seconds pass between the look and the write."""
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    look = GitHubActions._require_unchanged

    def look_and_stand_still(self: GitHubActions, seen: SecretMetadata) -> tuple[SecretMetadata, int]:
        found = look(self, seen)
        github.github.now += 30
        began = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: began + 30)
        return found

    monkeypatch.setattr(GitHubActions, "_require_unchanged", look_and_stand_still)
    github.github.failing["put"] = 0
    after = backend.update(made, "2", token=OTHER_TOKEN)
    assert after == backend.get_metadata("a")
    assert github.value(f"{github.prefix}/a") == "2"


def test_a_write_that_did_not_arrive_is_none(github: GitHubWorld, backend: Backend) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    for status in (500, 502):
        github.github.failing["put"] = status
        with pytest.raises(TargetBusy):
            backend.update(made, "2", token=OTHER_TOKEN)
    assert backend.get_metadata("a") == made


def test_a_list_reads_all_pages(github: GitHubWorld, backend: Backend) -> None:
    for number in range(7):
        github.write(f"{github.prefix}/n{number}", "x")
    backend.page_size = 3  # type: ignore[attr-defined]
    assert [seen.name for seen in backend.list_secrets()] == [f"n{number}" for number in range(7)]
    assert github.github.calls["list"] == 3
    assert github.github.calls["get"] == 0


def test_a_failing_list_is_never_an_empty_one(github: GitHubWorld, backend: Backend) -> None:
    for status, error in ((500, TargetBusy), (429, TargetBusy), (404, MountMissing), (0, TargetUnreachable)):
        github.github.failing["list"] = status
        with github.backend() as fresh, pytest.raises(error):
            list(fresh.list_secrets())


def test_a_place_that_is_hidden_is_no_absent_secret(github: GitHubWorld, backend: Backend) -> None:
    backend.create("a", "1", mark=MARK, token=TOKEN)
    github.github.visible = False
    with github.backend() as fresh, pytest.raises(MountMissing):
        fresh.get_metadata("a")


def test_a_limit_is_kept_by_every_request_after_it(github: GitHubWorld, backend: Backend) -> None:
    for status, headers in (
        (403, {"Retry-After": "42"}),
        (429, {"Retry-After": "42"}),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 3000)}),
        (429, {}),
    ):
        github.github.failing["put"], github.github.headers = status, headers
        with github.backend() as fresh:
            with pytest.raises(TargetBusy) as caught:
                fresh.create("a", "1", mark=MARK, token=TOKEN)
            assert 30 < caught.value.retry_after <= 3000
            assert not caught.value.permanent
            before = github.github.calls.total()
            with pytest.raises(TargetBusy):
                list(fresh.list_secrets())
            assert fresh.busy_seconds
            assert github.github.calls.total() == before
    assert backend.get_metadata("a").presence is Presence.ABSENT


def test_it_names_what_is_missing(github: GitHubWorld, backend: Backend) -> None:
    assert all(each.grant is Grant.GRANTED for each in backend.probe_permissions())
    github.github.denied = {"write"}
    assert [each.name for each in backend.probe_permissions() if each.grant is Grant.MISSING] == [
        "Secrets: write",
        "Secrets: write",
    ]
    with pytest.raises(PermissionMissing):
        backend.create("a", "1", mark=MARK, token=TOKEN)
    text = inspect.getdoc(github_backend) or ""
    assert all(
        word in text for word in ("*Secrets*", "*Environments*", "*Metadata*", "`repo`", "`admin:org`")
    )


def test_a_write_that_is_answered_by_404_lacks_a_permission(github: GitHubWorld, backend: Backend) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    github.github.denied, github.github.hides = {"write"}, True
    for act in (
        lambda: backend.create("b", "1", mark=MARK, token=TOKEN),
        lambda: backend.update(made, "2", token=OTHER_TOKEN),
        lambda: backend.delete(made),
    ):
        with pytest.raises(PermissionMissing, match=r"permission Secrets, read and write.*scope repo"):
            act()
    missing = [each.name for each in backend.probe_permissions() if each.grant is Grant.MISSING]
    assert missing == ["Secrets: write", "Secrets: write"]
    assert backend.get_metadata("a") == made
    # The item went between the look and the write: that is no question of permissions.
    github.github.denied = set()
    github.github.before["delete"] = lambda: github.remove(f"{github.prefix}/a")
    with pytest.raises(ChangedSinceRead):
        backend.delete(made)
    github.github.visible = False
    with pytest.raises(MountMissing):
        backend.create("c", "1", mark=MARK, token=TOKEN)


def test_a_test_of_permissions_leaves_nothing_where_its_write_is_taken(
    github: GitHubWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GitHub, "write", lambda self, _request, place, name: (
        201 if self.put(self._place(place), name, "x") else 204, None
    ))  # fmt: skip
    monkeypatch.setattr(
        GitHub,
        "routes",
        [(*route[:3], GitHub.write if route[2] == "put" else route[3]) for route in GitHub.routes],
    )
    assert all(each.grant is Grant.GRANTED for each in backend.probe_permissions())
    assert not github.place.secrets


def test_what_github_calls_a_limit_is_one(github: GitHubWorld) -> None:
    """Not every answer has Retry-After ("Rate limits for the REST API", "Exceeding the rate limit")."""
    for status, message, headers in (
        (403, "You have exceeded a secondary rate limit. Please wait a few minutes.", {}),
        (
            403,
            "API rate limit exceeded for user ID 1.",
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"},
        ),
        (429, "You have exceeded a secondary rate limit.", {}),
    ):
        github.github.refusal = Refused(status, message, headers)
        github.github.failing["put"] = status
        with github.backend() as fresh, pytest.raises(TargetBusy) as caught:
            fresh.create("a", "1", mark=MARK, token=TOKEN)
        assert caught.value.retry_after > 0


def test_a_limit_that_has_no_room_for_the_look_stops_before_the_write(
    github: GitHubWorld, backend: Backend
) -> None:
    github.github.always = {"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": str(int(time.time()) + 600)}
    with pytest.raises(TargetBusy) as caught:
        backend.create("a", "1", mark=MARK, token=TOKEN)
    assert 500 < caught.value.retry_after <= 600
    assert github.github.calls["put"] == 0


@pytest.mark.parametrize("status", [0, 403, 429, 502])
def test_a_look_that_fails_after_a_write_leaves_its_outcome_open(
    github: GitHubWorld, backend: Backend, status: int
) -> None:
    github.github.headers = {"Retry-After": "1"} if status in {403, 429} else {}
    seen = backend.create("a", "1", mark=MARK, token=TOKEN)
    acts: tuple[Callable[[], object], ...] = (
        lambda: backend.create("b", "1", mark=MARK, token=TOKEN),
        lambda: backend.update(seen, "2", token=OTHER_TOKEN),
    )
    for act in acts:
        github.github.now += 60
        github.github.before["put"] = partial(github.github.failing.__setitem__, "get", status)
        with pytest.raises(OutcomeUnknown) as caught:
            act()
        time.sleep(1.1 if status in {403, 429} else 0)
    after = backend.get_metadata("a")
    assert backend.is_write_of(after, caught.value.made)
    assert not backend.is_older(after, caught.value.made)
    assert not backend.is_write_of(seen, caught.value.made)
    assert backend.is_older(seen, caught.value.made)
    github.github.now += 60
    github.write(f"{github.prefix}/a", "theirs")
    assert not backend.is_write_of(backend.get_metadata("a"), caught.value.made)


def test_a_look_without_an_item_is_older_than_the_write_that_made_it(backend: Backend) -> None:
    seen = backend.create("a", "1", mark=MARK, token=TOKEN)
    assert backend.is_older(backend.get_metadata("none"), seen.version)
    assert not backend.is_older(seen, seen.version)


def test_a_look_that_lags_behind_an_answered_write_leaves_its_outcome_open(
    github: GitHubWorld, backend: Backend
) -> None:
    seen = backend.create("a", "1", mark=MARK, token=TOKEN)
    github.github.now += 60
    acts: tuple[Callable[[], object], ...] = (
        lambda: backend.create("b", "1", mark=MARK, token=TOKEN),
        lambda: backend.update(seen, "2", token=OTHER_TOKEN),
    )
    for act in acts:
        github.github.before["put"] = partial(github.github.lagging.__setitem__, "get", 1)
        with pytest.raises(OutcomeUnknown):
            act()
    assert github.value(f"{github.prefix}/a") == "2"


def test_an_app_signs_in_and_gives_its_token_back(github: GitHubWorld) -> None:
    key = github.github.app_key.as_pem(private=True).decode()
    app = {"app_id": APP_ID, "installation_id": INSTALLATION, "private_key": key}
    with GitHubActions(destination=github.destination, credentials=app) as backend:
        backend.create("a", "1", mark=MARK, token=TOKEN)
        assert len(github.github.issued) == 1
    assert not github.github.issued
    with (
        GitHubActions(destination=github.destination, credentials=app | {"app_id": "1"}) as backend,
        pytest.raises(CredentialsRejected),
    ):
        backend.check_connection()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "token"),
        ({"token": "x", "app_id": "1"}, "token"),
        ({"app_id": "1", "installation_id": "2"}, "token"),
        ({"app_id": "a", "installation_id": "2", "private_key": "x"}, "app_id"),
        ({"app_id": "1", "installation_id": "2", "private_key": "canary"}, "private_key"),
    ],
)
def test_incomplete_credentials_are_refused(github: GitHubWorld, changes: dict[str, str], field: str) -> None:
    with pytest.raises(BadDestination) as caught:
        GitHubActions(destination=github.destination, credentials=changes)
    assert caught.value.field == field
    assert "canary" not in str(caught.value)


def test_a_wrong_token_is_refused_and_never_repeated(github: GitHubWorld) -> None:
    wrong = {"token": f"{BEARER}x"}
    with (
        GitHubActions(destination=github.destination, credentials=wrong) as backend,
        pytest.raises(CredentialsRejected) as caught,
    ):
        backend.check_connection()
    assert BEARER not in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"owner": "a/b"}, {"repository": "a b"}, {"repository": "", "environment": "x"}]
)
def test_no_place_leads_elsewhere(github: GitHubWorld, changes: dict[str, str]) -> None:
    with pytest.raises(BadDestination):
        github.backend(**changes)


def test_names_that_github_does_not_take_are_refused(github: GitHubWorld) -> None:
    with github.backend(prefix="") as backend:
        for name in ("a+b", "a@b", "1a", "github/token", "ä"):
            assert backend.explain_refusal("create", name), name
            with pytest.raises(NameUnusable):
                backend.create(name, "x", mark=MARK, token=TOKEN)
    assert not github.place.secrets


def test_a_replaced_key_is_read_again(github: GitHubWorld, backend: Backend) -> None:
    backend.create("a", "1", mark=MARK, token=TOKEN)
    github.place.key_id = "another"
    backend.create("b", "2", mark=MARK, token=TOKEN)
    assert github.value(f"{github.prefix}/b") == "2"


def test_an_environment_and_an_organisation_are_places_of_their_own(github: GitHubWorld) -> None:
    systems = set()
    for changes, place in (
        ({}, github.github.repository),
        ({"environment": ENVIRONMENT}, github.github.environment),
        ({"repository": ""}, github.github.organization),
    ):
        with github.backend(**changes) as backend:
            systems.add(backend.identify_system())
            seen = backend.create("a", "1", mark=MARK, token=TOKEN)
            backend.update(seen, "2", token=OTHER_TOKEN)
            backend.delete(backend.get_metadata("a"))
            assert backend.get_metadata("a").presence is Presence.ABSENT
            assert not place.secrets
    assert len(systems) == 3


def test_who_sees_a_secret_of_the_organisation_stays(github: GitHubWorld) -> None:
    # Two pages of repositories.
    place, chosen = github.github.organization, [*range(7, 157)]
    name = f"{github.prefix}_theirs".upper().replace("-", "_")
    github.github.put(place, name, "x", visibility="selected", chosen=chosen)
    shared = f"{github.prefix}_shared".upper().replace("-", "_")
    github.github.put(place, shared, "x", visibility="all")
    with github.backend(repository="") as backend:
        made = backend.create("new", "1", mark=MARK, token=TOKEN)
        for name_of_keeper in ("theirs", "shared"):
            backend.update(backend.get_metadata(name_of_keeper), "2", token=TOKEN)
    assert place.secrets[name]["chosen"] == chosen
    shown = {each["name"]: each["visibility"] for each in place.secrets.values()}
    assert shown == {name: "selected", shared: "all", made.remote_id.partition(" ")[0]: "private"}


@pytest.mark.parametrize("shown", [[], [7], [7, 7, 8]])
def test_a_secret_whose_repositories_are_not_listed_whole_is_not_written(
    github: GitHubWorld, monkeypatch: pytest.MonkeyPatch, shown: list[int]
) -> None:
    """What a list that is not whole leaves out would lose the secret."""
    place = github.github.organization
    name = f"{github.prefix}_theirs".upper().replace("-", "_")
    github.github.put(place, name, "x", visibility="selected", chosen=[7, 8, 9])
    request = RestClient.request

    def half(self: RestClient, method: str, path: str, **options: Any) -> RestAnswer:
        answer = request(self, method, path, **options)
        if not path.endswith("/repositories"):
            return answer
        later = (options.get("query") or {}).get("page") != "1"
        listed = [{"id": number} for number in ([] if later else shown)]
        return replace(answer, content={"total_count": 3, "repositories": listed})

    monkeypatch.setattr(RestClient, "request", half)
    with github.backend(repository="") as backend, pytest.raises(TargetUnreachable, match="not whole"):
        backend.update(backend.get_metadata("theirs"), "2", token=TOKEN)
    assert place.secrets[name]["chosen"] == [7, 8, 9]
    assert place.secrets[name]["value"] == "x"


# --- By plan and apply ------------------------------------------------------------------------


def test_the_plan_shows_names_and_refuses_those_that_become_one(stage: Stage, github: GitHubWorld) -> None:
    for name in ("app/a_b", "app/a-b", "app/fine", "app/a@b"):
        stage.keep(name, "x")
    shown = reasons(stage)
    assert {name: act for name, (act, _) in shown.items()} == {
        "app/a_b": "refused",
        "app/a-b": "refused",
        "app/fine": "create",
        "app/a@b": "refused",
    }
    assert f"{github.prefix}_APP_FINE".upper().replace("-", "_") in shown["app/fine"][1]
    assert stage.sync().counts == {"create": 1, "refused": 3}
    assert stage.sync().counts == {"refused": 3, "unchanged": 1}


def test_the_plan_refuses_what_there_is_no_room_for(stage: Stage, github: GitHubWorld) -> None:
    for number in range(98):
        github.write(f"theirs/{number}", "x")
    for number in range(4):
        stage.keep(f"n{number}", "x")
    shown = reasons(stage)
    assert [name for name, (act, _) in shown.items() if act == "create"] == ["n0", "n1"]
    assert "room for 2" in shown["n3"][1]


def test_the_plan_refuses_what_is_too_large(stage: Stage) -> None:
    stage.keep("large", "x" * (48 * 1024 + 1))
    assert "49,152" in reasons(stage)["large"][1]


def test_what_another_client_wrote_is_drift_and_what_it_made_again_is_not_ours(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    for name in ("edited", "recreated", "kept", "gone"):
        stage.keep(name, "first")
    assert stage.sync().counts == {"create": 4}
    stage.edit("edited", "theirs")
    stage.world.remove(stage.path("recreated"))
    stage.edit("recreated", "theirs")
    stage.drop("gone")
    assert stage.sync().counts == {"delete": 1, "drifted": 1, "ownership_lost": 1, "unchanged": 1}
    stage.rules(conflict="keeper_wins", budget_percent=100)
    assert stage.sync().counts["update"] == 1
    assert (stage.theirs("edited"), stage.theirs("recreated")) == ("first", "theirs")
    for name in ("recreated", "edited"):
        stage.drop(name)
    stage.sync()
    assert stage.theirs("recreated") == "theirs"
    assert stage.world.labels_or_none(stage.path("edited")) is None


def test_a_secret_is_adopted_by_replacing_it_alone(stage: Stage) -> None:
    stage.edit("theirs", "value")
    stage.keep("theirs", "by Keeper")
    for mode in ("keep_theirs", "only_if_equal"):
        plan = stage.plan(kind=PlanKind.ADOPT, options={"names": ["theirs"], "mode": mode})
        assert stage.items(plan)["theirs"][0] == "refused"
    plan = stage.plan(kind=PlanKind.ADOPT, options={"names": ["theirs"], "mode": "replace"})
    assert stage.apply(plan).counts == {"adopt": 1}
    assert stage.theirs("theirs") == "by Keeper"
    assert stage.sync().counts == {"unchanged": 1}
    stage.apply(stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"}))
    assert stage.theirs("theirs") == "by Keeper"


def test_a_worker_that_died_after_a_write_leaves_a_decision(stage: Stage) -> None:
    stage.keep("a", "first")
    stage.sync()
    stage.keep("a", "second")
    # The write, of which nothing was noted.
    stage.edit("a", "second")
    assert reasons(stage)["a"][0] == "conflict"
    stage.rules(conflict="keeper_wins")
    assert stage.sync().counts == {"update": 1}
    assert stage.sync().counts == {"unchanged": 1}


def test_a_write_that_never_arrived_is_not_taken_for_the_one_before(
    stage: Stage, github: GitHubWorld
) -> None:
    """Both are of the same seconds by GitHub's clock."""
    stage.keep("a", "first")
    stage.sync()
    stage.keep("a", "second")
    run = runner.request_sync(actor=stage.alice, target=stage.fresh())
    for _ in range(12):
        github.github.failing["put"] = 502
        Run.objects.filter(pk=run.pk).update(not_before=None)
        runner.execute(run.pk)
    github.github.failing.clear()
    assert Run.objects.get(pk=run.pk).state == "failed"
    stage.sync()
    assert stage.theirs("a") == "second"


def test_a_lost_write_of_an_earlier_pass_stays_known_over_a_look_that_fails(
    stage: Stage, github: GitHubWorld
) -> None:
    stage.keep("app/a", "first")
    stage.sync()
    stage.keep("app/a", "second")
    github.github.now += 60
    plan = stage.plan()
    # Its answer was lost, and the list of this plan was older.
    github.write(stage.path("app/a"), "second")
    item, entry = PlanItem.objects.get(plan=plan, name="app/a"), stage.entry("app/a")
    window = Window(since=github.github.now - 5, until=github.github.now + 5)
    entry.record_intent(Intent(item.keeper_version, str(window), item.keeper_number))
    sync_entries.save_entries([entry])
    github.github.failing["get"] = 502
    run = applying.request_apply(actor=stage.alice, plan=plan)
    for _ in range(3):
        Run.objects.filter(pk=run.pk).update(not_before=None)
        runner.execute(run.pk)
    assert not github.github.failing
    stage.keep("app/a", "third")
    assert stage.sync().counts == {"update": 1}
    assert stage.theirs("app/a") == "third"


def test_a_run_waits_as_long_as_github_asks(stage: Stage, github: GitHubWorld) -> None:
    stage.keep("a", "first")
    github.github.failing["put"], github.github.headers = 403, {"Retry-After": "300"}
    queued = runner.request_sync(actor=stage.alice, target=stage.fresh())
    assert runner.execute(queued.pk) is not None
    run = Run.objects.get(pk=queued.pk)
    assert run.state == "queued"
    assert run.not_before is not None
    assert run.started_at is not None
    assert (run.not_before - run.started_at).total_seconds() > 250
    assert "limits requests" in run.error


def test_page_and_api_of_a_plan_state_that_no_value_is_shown(
    stage: Stage, signed_in: Callable[..., Client]
) -> None:
    plan = stage.plan()
    client = signed_in(stage.cast.alice)
    found = client.get(
        f"/api/environments/{stage.environment.name}/plans/{plan.pk}", headers={"Accept": "application/json"}
    ).json()
    assert found["notice"] == GitHubActions.plan_notice != ""
    page = client.get(reverse("plan-detail", args=[plan.pk])).content.decode()
    assert html.escape(found["notice"]) in page


def test_overlapping_targets_are_refused(cast: Cast, stage: Stage, github: GitHubWorld) -> None:
    for prefix in (github.prefix.upper(), github.prefix.replace("-", "/"), f"{github.prefix}_x", ""):
        github.destination["prefix"] = prefix
        with pytest.raises(DestinationTaken):
            target_in(github, stage.environment, actor=stage.alice)
    github.destination["prefix"] = f"{github.prefix}x"
    target_in(github, stage.environment, actor=stage.alice)


def test_another_repository_under_the_address_is_found(stage: Stage, github: GitHubWorld) -> None:
    github.github.repository_id += 1
    with stage.world.backend() as backend, pytest.raises(SystemMismatch):
        require_same_system(stage.fresh(), backend)


def test_no_error_repeats_a_value(github: GitHubWorld, backend: Backend) -> None:
    for status in (403, 404, 429, 500):
        github.github.failing["put"] = status
        with github.backend() as fresh:
            with pytest.raises(BackendError) as caught:
                fresh.create(f"n{status}", "canary-value", mark=MARK, token=TOKEN)
            assert "canary" not in str(caught.value), status
