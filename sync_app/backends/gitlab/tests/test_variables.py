"""GitLab: races, scopes, masking, descriptions, limits and permissions, on a strict stand-in."""

import inspect
from collections.abc import Iterator
from uuid import UUID

import pytest

from environments_app.tests.cast import Cast
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import Grant
from sync_app.backends.gitlab import backend as gitlab_backend
from sync_app.backends.gitlab.backend import GitLabVariables
from sync_app.backends.gitlab.tests.strict_server import GROUP
from sync_app.backends.gitlab.tests.strict_server import TOKEN as BEARER
from sync_app.backends.gitlab.tests.world import GitLabWorld
from sync_app.backends.observations import Mark
from sync_app.errors import (
    BadDestination,
    ChangedSinceRead,
    CredentialsRejected,
    MountMissing,
    NameUnusable,
    PermissionMissing,
    RequestRefused,
    SystemMismatch,
    TargetBusy,
    TargetUnreachable,
    ValueUnusable,
)
from sync_app.models import PlanItem, Run
from sync_app.models.plan import PlanKind
from sync_app.runs import runner
from sync_app.targets import connection_check
from sync_app.targets.destinations import require_same_system
from sync_app.tests.applying.stage import Stage
from sync_app.tests.worlds import variable

pytestmark = pytest.mark.django_db
PUBLIC_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIAJYoH4pNbOkzsU4wTzh7NKP4Onwo0lc1LWTMseJCLqA"
TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))


@pytest.fixture
def backend(gitlab: GitLabWorld) -> Iterator[Backend]:
    with gitlab.backend() as made:
        yield made


@pytest.fixture
def stage(cast: Cast, gitlab: GitLabWorld) -> Stage:
    return Stage(cast, gitlab)


def test_the_plan_refuses_what_cannot_be_masked_and_has_to_be(cast: Cast, gitlab: GitLabWorld) -> None:
    gitlab.destination["masking"] = "always"
    stage = Stage(cast, gitlab)
    stage.keep("app/short", "1234567")
    stage.keep("app/long", "12345678")
    key = f"ssh-ed25519 {PUBLIC_KEY}"
    write.put(
        actor=stage.alice,
        environment=stage.environment,
        name="app/key",
        value=key,
        secret_type=SecretType.SSH_KEY,
    )
    # Only the value shows it, which the plan opens.
    stage.keep("app/space", "two words")
    plan = stage.plan()
    assert plan.counts == {"create": 1, "refused": 3}
    refused = PlanItem.objects.filter(plan=plan, act="refused").values_list("name", "reason")
    assert {name for name, reason in refused if "masks" in reason} == {"app/key", "app/short", "app/space"}
    assert stage.items(stage.apply(plan))["app/long"] == ("create", "done")
    stage.world.destination["masking"] = "possible"
    other = Stage(cast, GitLabWorld(gitlab.destination["address"], gitlab.gitlab))
    assert other.plan().counts == {"create": 4}


def test_what_another_client_created_in_between_stays(gitlab: GitLabWorld, backend: Backend) -> None:
    gitlab.gitlab.before["create"] = lambda: gitlab.write(f"{gitlab.prefix}/a", "theirs")
    with pytest.raises(ChangedSinceRead):
        backend.create("a", "ours", mark=MARK, token=TOKEN)
    assert gitlab.value(f"{gitlab.prefix}/a") == "theirs"


def test_what_another_keeper_has_marked_since_is_not_written_over(backend: Backend) -> None:
    """A mark changes no version: neither the value nor who wrote it is another."""
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    backend.mark(made, Mark(deployment=UUID(int=9), target=UUID(int=2), secret=UUID(int=3)))
    assert backend.get_metadata("a").version == made.version
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "2", token=OTHER_TOKEN)
    found = backend.read_value("a")
    assert found is not None
    assert found.value == "1"


def test_a_lost_answer_is_found_again(gitlab: GitLabWorld, backend: Backend) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    gitlab.gitlab.failing["update"] = 0
    with pytest.raises(TargetUnreachable) as caught:
        backend.update(made, "2", token=OTHER_TOKEN)
    assert not caught.value.permanent
    assert backend.update(made, "2", token=OTHER_TOKEN, repeated=True) == backend.get_metadata("a")
    assert gitlab.gitlab.calls["update"] == 1
    # Somebody changed the value since; the description still names the write.
    gitlab.gitlab.put(gitlab.owner, variable(f"{gitlab.prefix}/a"), value="theirs")
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "2", token=OTHER_TOKEN, repeated=True)


def test_values_are_masked_by_the_rule(gitlab: GitLabWorld) -> None:
    path = f"{gitlab.prefix}/a"
    for rule, value, masked in (
        ("possible", "long-enough-$x", True),
        ("possible", "short", False),
        ("possible", "two lines\n12345", False),
        ("never", "long-enough-$x", False),
        ("always", "long-enough-$x", True),
    ):
        with gitlab.backend(masking=rule, protected="no" if rule == "never" else "yes") as backend:
            backend.create("a", value, mark=MARK, token=TOKEN)
        found = gitlab.found(path)
        assert (found["value"], found["masked"], found["raw"]) == (value, masked, True), rule
        assert found["protected"] is (rule != "never")
        gitlab.remove(path)
    with (
        gitlab.backend(masking="always") as backend,
        pytest.raises(RequestRefused, match="masks") as caught,
    ):
        backend.create("a", "canary", mark=MARK, token=TOKEN)
    assert "canary" not in str(caught.value)
    assert caught.value.permanent


def test_another_scope_is_another_place(gitlab: GitLabWorld) -> None:
    with gitlab.backend() as everywhere, gitlab.backend(environment_scope="production/*") as production:
        assert everywhere.identify_system() != production.identify_system()
        made = everywhere.create("a", "1", mark=MARK, token=TOKEN)
        production.create("a", "2", mark=MARK, token=TOKEN)
        production.update(production.get_metadata("a"), "3", token=OTHER_TOKEN)
        assert list(everywhere.list_secrets()) == [made]
        production.delete(production.get_metadata("a"))
        assert everywhere.get_metadata("a") == made
    with gitlab.backend(project="", group=GROUP) as group:
        assert list(group.list_secrets()) == []
        group.create("a", "1", mark=MARK, token=TOKEN)
    assert gitlab.value(f"{gitlab.prefix}/a") == "1"


def test_a_group_without_scopes_gets_no_value(gitlab: GitLabWorld) -> None:
    gitlab.gitlab.scopes_groups = False
    with gitlab.backend(project="", group=GROUP, environment_scope="production") as group:
        for refused in (RequestRefused, NameUnusable):
            with pytest.raises(refused, match="no environment scope"):
                group.create("a", "canary", mark=MARK, token=TOKEN)
        assert "no environment scope" in group.explain_refusal("create", "b")
    # It was tried once, and not with a value.
    assert gitlab.gitlab.calls["create"] == 1
    assert gitlab.gitlab.group.variables == {}
    # In every environment it is what was asked for.
    with gitlab.backend(project="", group=GROUP) as group:
        group.create("a", "1", mark=MARK, token=TOKEN)


def test_a_description_without_room_is_left_alone(gitlab: GitLabWorld, backend: Backend) -> None:
    path = f"{gitlab.prefix}/theirs"
    gitlab.write(path, "x")
    gitlab.gitlab.put(gitlab.owner, variable(path), description="d" * 200)
    with pytest.raises(RequestRefused, match="room"):
        backend.mark(backend.get_metadata("theirs"), MARK)
    assert gitlab.found(path)["description"] == "d" * 200


def test_hidden_variables_and_those_in_lower_case_are_left_alone(gitlab: GitLabWorld) -> None:
    gitlab.gitlab.put(gitlab.owner, "HIDDEN", value="canary12", hidden=True, masked=True)
    gitlab.gitlab.put(gitlab.owner, "lower", value="x")
    with gitlab.backend(prefix="") as backend:
        assert [seen.name for seen in backend.list_secrets()] == ["hidden"]
        with pytest.raises(ValueUnusable):
            backend.read_value("hidden")


def test_a_list_reads_all_pages(gitlab: GitLabWorld, backend: Backend) -> None:
    for number in range(7):
        gitlab.write(f"{gitlab.prefix}/n{number}", "x")
    backend.page_size = 3  # type: ignore[attr-defined]
    assert [seen.name for seen in backend.list_secrets()] == [f"n{number}" for number in range(7)]
    assert gitlab.gitlab.calls["list"] == 3


def test_a_failing_list_or_read_is_never_an_empty_one(gitlab: GitLabWorld, backend: Backend) -> None:
    for status, error in ((500, TargetBusy), (429, TargetBusy), (404, MountMissing), (0, TargetUnreachable)):
        gitlab.gitlab.failing["list"] = status
        with gitlab.backend() as fresh, pytest.raises(error):
            list(fresh.list_secrets())
    gitlab.gitlab.visible = False
    with pytest.raises(MountMissing):
        backend.get_metadata("a")


def test_it_names_what_is_missing(gitlab: GitLabWorld, backend: Backend) -> None:
    assert all(each.grant is Grant.GRANTED for each in backend.probe_permissions())
    gitlab.gitlab.denied = {"write"}
    missing = {each.name for each in backend.probe_permissions() if each.grant is Grant.MISSING}
    assert missing == {"api: change variables"}
    with pytest.raises(PermissionMissing):
        backend.create("a", "1", mark=MARK, token=TOKEN)
    text = inspect.getdoc(gitlab_backend) or ""
    assert all(word in text for word in ("`api`", "Maintainer", "Owner"))


def test_a_write_that_is_answered_by_404_lacks_a_permission(gitlab: GitLabWorld, backend: Backend) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    held = dict(gitlab.found(f"{gitlab.prefix}/a"))
    held.pop("key")
    gitlab.gitlab.denied, gitlab.gitlab.hides = {"write"}, True
    for act in (
        lambda: backend.create("b", "1", mark=MARK, token=TOKEN),
        lambda: backend.update(made, "2", token=OTHER_TOKEN),
        lambda: backend.delete(made),
    ):
        with pytest.raises(PermissionMissing, match="scope api, and the role Maintainer"):
            act()
    gitlab.gitlab.denied = set()
    for verb, act in (
        ("update", lambda: backend.update(made, "2", token=OTHER_TOKEN)),
        ("delete", lambda: backend.delete(made)),
    ):
        gitlab.gitlab.before[verb] = lambda: gitlab.remove(f"{gitlab.prefix}/a")
        with pytest.raises(ChangedSinceRead):
            act()
        gitlab.gitlab.put(gitlab.owner, variable(f"{gitlab.prefix}/a"), **held)


@pytest.mark.parametrize("beside", [False, True])
def test_a_gitlab_without_descriptions_is_told_at_the_test_and_in_the_plan(
    stage: Stage, gitlab: GitLabWorld, beside: bool
) -> None:
    gitlab.gitlab.version = "16.1.4-ee"
    if beside:
        gitlab.write(f"{gitlab.prefix}/theirs", "x")
    stage.keep("a", "first")
    report = connection_check.test(actor=stage.alice, target=stage.fresh())
    assert not report.ok
    assert "before 16.2" in report.problem
    reasons = dict(PlanItem.objects.filter(plan=stage.plan(), act="refused").values_list("name", "reason"))
    assert "before 16.2" in reasons["a"]
    assert "A" not in {key for key, _ in gitlab.owner.variables}
    gitlab.gitlab.version = "16.2.0"
    assert connection_check.test(actor=stage.alice, target=stage.fresh()).ok
    assert stage.sync().counts["create"] == 1


def test_a_variable_whose_mark_was_ignored_does_not_stay(gitlab: GitLabWorld, backend: Backend) -> None:
    """The version endpoint may say nothing: the answer to the write shows it."""
    gitlab.gitlab.version, gitlab.gitlab.denied = "16.1.4-ee", {"version"}
    with pytest.raises(RequestRefused, match=r"before 16\.2"):
        backend.create("a", "canary", mark=MARK, token=TOKEN)
    assert not gitlab.owner.variables
    gitlab.write(f"{gitlab.prefix}/theirs", "x")
    with pytest.raises(RequestRefused, match=r"before 16\.2"):
        backend.mark(backend.get_metadata("theirs"), MARK)
    assert gitlab.value(f"{gitlab.prefix}/theirs") == "x"


def test_another_value_in_the_answer_is_not_delivered(
    stage: Stage, gitlab: GitLabWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_body = gitlab.gitlab._body
    stage.keep("app/old", "first")
    stage.sync()
    stage.keep("app/old", "second")
    stage.keep("app/new", "second")
    with monkeypatch.context() as patched:
        patched.setattr(gitlab.gitlab, "_body", lambda request: read_body(request) | {"value": "altered"})
        stage.sync()
    for name in ("app/old", "app/new"):
        assert stage.theirs(name) == "altered"
        assert stage.entry(name).state == "failed"
        assert "another value" in stage.entry(name).reason
    # Who stored it is not known: a person chooses.
    stage.sync()
    assert {stage.entry(name).state for name in ("app/old", "app/new")} <= {"conflict", "unmanaged"}
    assert stage.theirs("app/old") == stage.theirs("app/new") == "altered"


def test_a_wrong_token_is_refused(gitlab: GitLabWorld) -> None:
    wrong = {"token": f"{BEARER}x"}
    with (
        GitLabVariables(destination=gitlab.destination, credentials=wrong) as backend,
        pytest.raises(CredentialsRejected) as caught,
    ):
        backend.check_connection()
    assert BEARER not in str(caught.value)


@pytest.mark.parametrize("changes", [{"project": ""}, {"group": GROUP}, {"ca_certificate": "x"}])
def test_a_wrong_destination_is_refused(gitlab: GitLabWorld, changes: dict[str, str]) -> None:
    with pytest.raises(BadDestination):
        gitlab.backend(**changes)


def test_names_that_gitlab_does_not_take_are_refused(gitlab: GitLabWorld, backend: Backend) -> None:
    for name in ("a+b", "a@b", "x" * 255):
        assert backend.explain_refusal("create", name), name
        with pytest.raises(NameUnusable):
            backend.create(name, "x", mark=MARK, token=TOKEN)
    assert not gitlab.owner.variables


# --- By plan and apply ------------------------------------------------------------------------


def test_drift_conflict_and_what_lost_its_mark(stage: Stage, gitlab: GitLabWorld) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    for name in ("edited", "recreated", "unmarked", "kept", "gone"):
        stage.keep(name, "first")
    assert stage.sync().counts == {"create": 5}
    assert stage.sync().counts == {"unchanged": 5}
    stage.edit("edited", "theirs")
    stage.world.remove(stage.path("recreated"))
    stage.edit("recreated", "theirs")
    gitlab.gitlab.put(gitlab.owner, variable(stage.path("unmarked")), description="")
    stage.drop("gone")
    assert stage.sync().counts == {"delete": 1, "drifted": 1, "ownership_lost": 2, "unchanged": 1}
    stage.rules(conflict="keeper_wins", budget_percent=100)
    assert stage.sync().counts["update"] == 1
    assert (stage.theirs("edited"), stage.theirs("recreated")) == ("first", "theirs")
    for name in ("recreated", "unmarked"):
        stage.drop(name)
    stage.sync()
    assert (stage.theirs("recreated"), stage.theirs("unmarked")) == ("theirs", "first")


def test_a_worker_that_died_after_a_write_is_recognised(stage: Stage, gitlab: GitLabWorld) -> None:
    stage.keep("a", "first")
    stage.sync()
    stage.keep("a", "second")
    gitlab.gitlab.failing["update"] = 0
    queued = runner.request_sync(actor=stage.alice, target=stage.fresh())
    runner.execute(queued.pk)
    assert Run.objects.get(pk=queued.pk).state == "queued"
    Run.objects.filter(pk=queued.pk).update(not_before=None)
    runner.execute(queued.pk)
    assert Run.objects.get(pk=queued.pk).state == "done"
    assert gitlab.gitlab.calls["update"] == 1
    assert stage.sync().counts == {"unchanged": 1}
    assert stage.theirs("a") == "second"


def test_a_lost_write_stays_known_over_a_look_that_shows_nothing(stage: Stage, gitlab: GitLabWorld) -> None:
    """GitLab answers 404 also to what it does not show for now."""
    stage.keep("app/a", "first")
    stage.sync()
    stage.keep("app/a", "second")
    gitlab.gitlab.failing["update"] = 0
    run = runner.request_sync(actor=stage.alice, target=stage.fresh())
    runner.execute(run.pk)
    assert stage.theirs("app/a") == "second"
    gitlab.gitlab.failing["get"] = 404
    Run.objects.filter(pk=run.pk).update(not_before=None)
    runner.execute(run.pk)
    assert not gitlab.gitlab.failing
    assert stage.entry("app/a").state != "in_sync"
    stage.keep("app/a", "third")
    assert stage.sync().counts == {"update": 1}
    assert stage.theirs("app/a") == "third"


def test_a_variable_is_pulled_and_adopted(stage: Stage) -> None:
    stage.edit("theirs", "value")
    options = {"names": ["theirs"], "mode": "keep_theirs"}
    assert stage.apply(stage.plan(kind=PlanKind.ADOPT, options=options)).counts == {"adopt": 1}
    assert stage.value("theirs") == "value"
    assert stage.sync().counts == {"unchanged": 1}
    stage.keep("theirs", "by Keeper")
    assert stage.sync().counts == {"update": 1}
    assert stage.theirs("theirs") == "by Keeper"
    stage.apply(stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"}))
    assert stage.world.labels(stage.path("theirs")) == {}


def test_another_project_under_the_address_is_found(stage: Stage, gitlab: GitLabWorld) -> None:
    gitlab.owner.id += 1
    with stage.world.backend() as backend, pytest.raises(SystemMismatch):
        require_same_system(stage.fresh(), backend)
