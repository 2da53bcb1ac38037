"""Variables of GitHub Actions: what is refused because they are readable, races, lost answers and limits."""

import html
import inspect
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.tests.cast import Cast
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import Grant
from sync_app.backends.github import backend as github_variables_backend
from sync_app.backends.github.backend import GitHubVariables
from sync_app.backends.github.place import GitHubPlace
from sync_app.backends.github.tests.strict_server import ENVIRONMENT
from sync_app.backends.github.tests.world import GitHubVariablesWorld, GitHubWorld
from sync_app.backends.observations import Mark
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    DestinationTaken,
    MountMissing,
    NameUnusable,
    PermissionMissing,
    TargetBusy,
    TargetUnreachable,
)
from sync_app.models import PlanItem
from sync_app.models.plan import PlanKind
from sync_app.tests.applying.stage import Stage, target_in

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))


@pytest.fixture
def backend(github_variables: GitHubVariablesWorld) -> Iterator[Backend]:
    with github_variables.backend() as made:
        yield made


@pytest.fixture
def stage(cast: Cast, github_variables: GitHubVariablesWorld) -> Stage:
    return Stage(cast, github_variables)


def reasons(stage: Stage) -> dict[str, tuple[str, str]]:
    rows = PlanItem.objects.filter(plan=stage.plan()).values_list("name", "act", "reason")
    return {name: (act, reason) for name, act, reason in rows}


def test_what_another_client_created_in_between_stays(
    github_variables: GitHubVariablesWorld, backend: Backend
) -> None:
    path = f"{github_variables.prefix}/a"
    github_variables.github.before["create"] = lambda: github_variables.write(path, "theirs")
    with pytest.raises(ChangedSinceRead):
        backend.create("a", "canary-ours", mark=MARK, token=TOKEN)
    assert github_variables.value(path) == "theirs"


def test_what_was_written_just_after_is_no_success(
    github_variables: GitHubVariablesWorld, backend: Backend
) -> None:
    made, path = backend.create("a", "1", mark=MARK, token=TOKEN), f"{github_variables.prefix}/a"
    before = github_variables.github.before
    # The first look is before the write, the second after it.
    before["change"] = lambda: before.update(get=lambda: github_variables.write(path, "theirs"))
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "ours", token=OTHER_TOKEN)
    assert github_variables.value(path) == "theirs"


def test_one_that_was_made_anew_just_after_with_the_same_value_is_no_success(
    github_variables: GitHubVariablesWorld, backend: Backend
) -> None:
    made, path = backend.create("a", "1", mark=MARK, token=TOKEN), f"{github_variables.prefix}/a"
    github = github_variables.github

    def make_anew() -> None:
        github.remove(github_variables.items, next(iter(github_variables.items.secrets)))
        github_variables.write(path, "ours")

    github.before["change"] = lambda: github.before.update(get=make_anew)
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "ours", token=OTHER_TOKEN)


def test_a_write_within_the_same_second_is_seen(
    github_variables: GitHubVariablesWorld, backend: Backend
) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    github_variables.github.now -= 1
    github_variables.write(f"{github_variables.prefix}/a", "theirs")
    with pytest.raises(ChangedSinceRead):
        backend.delete(made)
    assert "theirs" not in backend.get_metadata("a").version


def test_a_lost_answer_is_found_again_and_a_lost_request_is_none(
    github_variables: GitHubVariablesWorld, backend: Backend
) -> None:
    failing, path = github_variables.github.failing, f"{github_variables.prefix}/a"
    failing["create"] = 502
    with pytest.raises(TargetBusy):
        backend.create("a", "1", mark=MARK, token=TOKEN)
    assert backend.get_metadata("a").presence is Presence.ABSENT
    failing["create"] = 0
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    for value in ("2", "1"):
        failing["change"] = 502
        with pytest.raises(TargetBusy):
            backend.update(made, value, token=OTHER_TOKEN)
    assert backend.get_metadata("a") == made
    failing["change"] = 0
    assert backend.update(made, "2", token=OTHER_TOKEN) == backend.get_metadata("a")
    assert github_variables.value(path) == "2"


def test_a_list_reads_all_pages_and_a_failing_one_is_never_empty(
    github_variables: GitHubVariablesWorld, backend: Backend
) -> None:
    for number in range(61):
        github_variables.write(f"{github_variables.prefix}/n{number}", "x")
    assert len(list(backend.list_secrets())) == 61
    assert (github_variables.github.calls["list"], github_variables.github.calls["get"]) == (3, 0)
    for status, error in ((500, TargetBusy), (429, TargetBusy), (404, MountMissing), (0, TargetUnreachable)):
        github_variables.github.failing["list"] = status
        with github_variables.backend() as fresh, pytest.raises(error):
            list(fresh.list_secrets())
    github_variables.github.visible = False
    with github_variables.backend() as fresh, pytest.raises(MountMissing):
        fresh.get_metadata("n1")


def test_a_list_that_ends_before_its_count_is_no_list(
    github_variables: GitHubVariablesWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it lacks would be taken for deleted there."""
    for number in range(31):
        github_variables.write(f"{github_variables.prefix}/n{number}", "x")
    list_page = GitHubPlace._list_page

    def shrunk(self: GitHubPlace, number: int, *, size: int) -> dict[str, Any]:
        page = list_page(self, number, size=size)
        return page if number == 1 else {**page, "variables": []}

    monkeypatch.setattr(GitHubPlace, "_list_page", shrunk)
    with pytest.raises(TargetUnreachable, match="changed while it was read"):
        list(backend.list_secrets())


def test_it_names_what_is_missing(github_variables: GitHubVariablesWorld, backend: Backend) -> None:
    assert all(each.grant is Grant.GRANTED for each in backend.probe_permissions())
    github_variables.github.denied = {"write"}
    missing = [each.name for each in backend.probe_permissions() if each.grant is Grant.MISSING]
    assert missing == ["Variables: write", "Variables: write"]
    with pytest.raises(PermissionMissing):
        backend.create("a", "1", mark=MARK, token=TOKEN)
    text = inspect.getdoc(github_variables_backend) or ""
    words = ("*Variables*", "*Environments*", "*Metadata*", "`repo`", "`admin:org`")
    assert all(word in text for word in words)


def test_names_that_github_does_not_take_are_refused(github_variables: GitHubVariablesWorld) -> None:
    with github_variables.backend(prefix="") as backend:
        for name in ("a+b", "1a", "github/token", "ä"):
            assert backend.explain_refusal("create", name), name
            with pytest.raises(NameUnusable):
                backend.create(name, "x", mark=MARK, token=TOKEN)
    assert not github_variables.items.secrets


def test_each_place_has_variables_beside_its_secrets(github_variables: GitHubVariablesWorld) -> None:
    github, systems = github_variables.github, set()
    secrets = GitHubWorld(github_variables.destination["address"], github)
    for changes, place in (
        ({}, github.repository),
        ({"environment": ENVIRONMENT}, github.environment),
        ({"repository": ""}, github.organization),
    ):
        with github_variables.backend(**changes) as backend, secrets.backend(**changes) as other:
            systems |= {backend.identify_system(), other.identify_system()}
            seen = backend.create("a", "1", mark=MARK, token=TOKEN)
            backend.update(seen, "2", token=OTHER_TOKEN)
            backend.delete(backend.get_metadata("a"))
            assert not place.variables.secrets
            assert not place.secrets
    assert len(systems) == 6


def test_who_sees_a_variable_of_the_organisation_stays(github_variables: GitHubVariablesWorld) -> None:
    place = github_variables.github.organization.variables
    name = f"{github_variables.prefix}_theirs".upper().replace("-", "_")
    github_variables.github.put(place, name, "x", visibility="selected", chosen=[7, 8])
    with github_variables.backend(repository="") as backend:
        backend.create("new", "1", mark=MARK, token=TOKEN)
        backend.update(backend.get_metadata("theirs"), "2", token=TOKEN)
    assert (place.secrets[name]["chosen"], place.secrets[name]["value"]) == ([7, 8], "2")
    assert {each["visibility"] for each in place.secrets.values()} == {"selected", "private"}


def test_no_error_repeats_a_value(github_variables: GitHubVariablesWorld) -> None:
    for status in (403, 404, 422, 429, 500):
        github_variables.github.failing["create"] = status
        with github_variables.backend() as fresh, pytest.raises(BackendError) as caught:
            fresh.create("a", "canary", mark=MARK, token=TOKEN)
        assert "canary" not in f"{caught.value!r}{caught.value.__cause__!r}"


# --- By plan and apply ------------------------------------------------------------------------


def test_the_plan_refuses_what_is_secret_by_its_type_or_by_what_it_refers_to(
    stage: Stage, github_variables: GitHubVariablesWorld
) -> None:
    stage.keep("region", "eu")
    for name, value, secret_type in (
        ("password", "Canary-12345", SecretType.PASSWORD),
        ("key", "Canary-12345", SecretType.API_KEY),
        ("dsn", f"postgres://${{{stage.environment.name}/password}}@db", SecretType.TEXT),
    ):
        write.put(
            actor=stage.alice,
            environment=stage.environment,
            name=name,
            value=value,
            secret_type=secret_type,
            uses_references=name == "dsn",
        )
    stage.edit("key", "theirs")
    shown = reasons(stage)
    acts = {name: act for name, (act, _) in shown.items()}
    assert acts == {"region": "create", "password": "refused", "dsn": "refused", "key": "unmanaged"}
    assert "type is Password" in shown["password"][1]
    assert "references" in shown["dsn"][1]
    plan = stage.plan(kind=PlanKind.ADOPT, options={"names": ["key"], "mode": "replace"})
    assert stage.items(plan)["key"][0] == "refused"
    stage.sync()
    assert {each["value"] for each in github_variables.items.secrets.values()} == {"eu", "theirs"}


def test_the_plan_refuses_names_that_become_one_sizes_and_what_there_is_no_room_for(
    stage: Stage, github_variables: GitHubVariablesWorld
) -> None:
    for name in ("app/a_b", "app/a-b", "n0", "n1", "n2"):
        stage.keep(name, "x")
    stage.keep("large", "x" * (48 * 1024 + 1))
    # Of 500; the large one takes room as well.
    for number in range(497):
        github_variables.github.put(github_variables.items, f"THEIRS_{number}", "x")
    shown = reasons(stage)
    assert [name for name, (act, _) in shown.items() if act == "create"] == ["n0", "n1"]
    assert "become one name" in shown["app/a-b"][1]
    assert "49,152" in shown["large"][1]
    assert "room for 3" in shown["n2"][1]


def test_drift_conflict_and_what_was_made_again(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    for name in ("edited", "recreated", "same", "kept", "gone"):
        stage.keep(name, "first")
    assert stage.sync().counts == {"create": 5}
    stage.edit("edited", "theirs")
    # Written again with the same value: that is no drift.
    stage.edit("same", "first")
    stage.world.remove(stage.path("recreated"))
    stage.edit("recreated", "theirs")
    stage.drop("gone")
    assert stage.sync().counts == {"delete": 1, "drifted": 1, "ownership_lost": 1, "unchanged": 2}
    stage.rules(conflict="keeper_wins", budget_percent=100)
    assert stage.sync().counts["update"] == 1
    assert (stage.theirs("edited"), stage.theirs("recreated")) == ("first", "theirs")


@pytest.mark.parametrize("mode", ["keep_theirs", "only_if_equal", "replace"])
def test_a_variable_is_adopted_and_left(stage: Stage, mode: str) -> None:
    stage.edit("theirs", "value")
    stage.keep("theirs", "by Keeper" if mode == "replace" else "value")
    plan = stage.plan(kind=PlanKind.ADOPT, options={"names": ["theirs"], "mode": mode})
    assert stage.apply(plan).counts == {"adopt": 1}
    assert stage.sync().counts == {"unchanged": 1}
    stage.keep("theirs", "next")
    assert stage.sync().counts == {"update": 1}
    stage.apply(stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"}))
    assert stage.theirs("theirs") == "next"


def test_form_page_and_api_warn_that_variables_are_readable(
    stage: Stage, signed_in: Callable[..., Client]
) -> None:
    plan, client = stage.plan(), signed_in(stage.cast.alice)
    address = f"/api/environments/{stage.environment.name}/plans/{plan.pk}"
    assert client.get(address, headers={"Accept": "application/json"}).json()["notice"] == (
        GitHubVariables.plan_notice
    )
    for page in (reverse("plan-detail", args=[plan.pk]), f"{reverse('target-new')}?backend=github_variables"):
        assert html.escape(GitHubVariables.plan_notice) in client.get(page).content.decode(), page


def test_overlapping_targets_are_refused_and_secrets_are_beside_them(
    cast: Cast, stage: Stage, github_variables: GitHubVariablesWorld
) -> None:
    for prefix in (github_variables.prefix.upper(), f"{github_variables.prefix}_x", ""):
        github_variables.destination["prefix"] = prefix
        with pytest.raises(DestinationTaken):
            target_in(github_variables, stage.environment, actor=stage.alice)
    secrets = GitHubWorld(github_variables.destination["address"], github_variables.github)
    secrets.destination["prefix"] = github_variables.prefix
    target_in(secrets, stage.environment, actor=stage.alice)
