"""Kubernetes: races, shared objects, names, failing answers and permissions, on a strict stand-in of the API server."""

import base64
import inspect
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from environments_app.tests.cast import Cast
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import Grant
from sync_app.backends.kubernetes import backend as kubernetes_backend
from sync_app.backends.kubernetes import connection
from sync_app.backends.kubernetes.backend import KubernetesSecrets
from sync_app.backends.kubernetes.objects import resource_version
from sync_app.backends.kubernetes.tests.strict_server import TOKEN as BEARER
from sync_app.backends.kubernetes.tests.strict_store import ApiError
from sync_app.backends.kubernetes.tests.world import KubernetesWorld
from sync_app.backends.kubernetes.workloads import restart_workloads, secrets_of
from sync_app.backends.observations import Mark
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    AnswerUnexpected,
    BackendError,
    BadDestination,
    ChangedSinceRead,
    CredentialsRejected,
    MountMissing,
    NameUnusable,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    SystemMismatch,
    TargetBusy,
    TargetUnreachable,
    ValueUnusable,
)
from sync_app.models import PlanItem, Run
from sync_app.models.plan import PlanKind
from sync_app.targets.destinations import require_same_system
from sync_app.tests.applying.stage import Stage

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))
LOGIN = '{"username": "app", "password": "first"}'


@pytest.fixture
def backend(kubernetes: KubernetesWorld) -> Iterator[Backend]:
    with kubernetes.backend() as made:
        yield made


@pytest.fixture
def stage(cast: Cast, kubernetes: KubernetesWorld) -> Stage:
    return Stage(cast, kubernetes)


def test_what_came_between_read_and_write_stays(kubernetes: KubernetesWorld, backend: Backend) -> None:
    path = f"{kubernetes.prefix}/a"

    def replaced() -> None:
        kubernetes.remove(path)
        kubernetes.write(path, "another owner's")

    for act in (lambda: kubernetes.write(path, "theirs"), replaced, lambda: kubernetes.label(path, "x", "y")):
        made = backend.create("a", "1", mark=MARK, token=TOKEN)
        kubernetes.cluster.before["patch"] = act
        with pytest.raises(ChangedSinceRead):
            backend.update(made, "ours", token=OTHER_TOKEN)
        assert kubernetes.value(path) != "ours"
        kubernetes.remove(path)


def test_a_deletion_is_of_one_version(kubernetes: KubernetesWorld, backend: Backend) -> None:
    path = f"{kubernetes.prefix}/a"
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    kubernetes.cluster.before["delete"] = lambda: kubernetes.write(path, "theirs")
    with pytest.raises(ChangedSinceRead):
        backend.delete(made)
    assert kubernetes.value(path) == "theirs"


def test_a_lost_answer_is_found_again(kubernetes: KubernetesWorld, backend: Backend) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    kubernetes.cluster.failing["patch"] = 0
    with pytest.raises(TargetUnreachable) as caught:
        backend.update(made, "2", token=OTHER_TOKEN)
    assert not caught.value.permanent
    again = backend.update(made, "2", token=OTHER_TOKEN, repeated=True)
    assert again == backend.get_metadata("a")
    assert kubernetes.cluster.calls["patch"] == 1


def test_the_members_of_an_object_are_keys_and_those_of_others_stay(
    kubernetes: KubernetesWorld, backend: Backend
) -> None:
    path = f"{kubernetes.prefix}/login"
    made = backend.create("login", LOGIN, mark=MARK, token=TOKEN)
    assert kubernetes.content(path) == {"username": "app", "password": "first"}
    kubernetes.cluster.store.merge(
        "default", f"{kubernetes.prefix}.login", {"data": {"theirs": "eA=="}}, "kubectl"
    )
    copy = backend.read_value("login")
    assert copy is not None
    assert backend.values_equal(LOGIN, copy.value)
    with pytest.raises(ChangedSinceRead):
        backend.update(made, '{"username": "new"}', token=OTHER_TOKEN)
    after = backend.update(backend.get_metadata("login"), '{"username": "new"}', token=OTHER_TOKEN)
    # What Keeper set when it created the object and leaves out goes as well.
    assert kubernetes.content(path) == {"username": "new", "theirs": "x"}
    after = backend.update(after, '{"username": "new", "second": "1"}', token=f"3{TOKEN}")
    after = backend.update(after, '{"username": "newer"}', token=f"4{TOKEN}")
    assert kubernetes.content(path) == {"username": "newer", "theirs": "x"}
    with pytest.raises(RequestRefused, match="delete it there"):
        backend.delete(after)


@pytest.mark.parametrize(
    ("place", "field", "words"),
    [("secret", "immutable", "immutable in Kubernetes"), ("metadata", "deletionTimestamp", "being deleted")],
)
def test_what_takes_no_value_or_goes_is_left_as_it_is(
    kubernetes: KubernetesWorld, backend: Backend, place: str, field: str, words: str
) -> None:
    backend.create("login", LOGIN, mark=MARK, token=TOKEN)
    stored = kubernetes.cluster.store.secrets["default", f"{kubernetes.prefix}.login"]
    (stored["metadata"] if place == "metadata" else stored)[field] = "2026-12-01T00:00:00Z"
    with pytest.raises(RequestRefused, match=words):
        backend.update(backend.get_metadata("login"), LOGIN, token=OTHER_TOKEN)
    assert kubernetes.cluster.calls["patch"] == 0


def test_a_key_that_another_manager_sets_as_well_stays(kubernetes: KubernetesWorld, backend: Backend) -> None:
    path, name = f"{kubernetes.prefix}/login", f"{kubernetes.prefix}.login"
    backend.create("login", LOGIN, mark=MARK, token=TOKEN)
    same = {"password": kubernetes.cluster.store.read("default", name)["data"]["password"]}
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": same}
    kubernetes.cluster.store.apply("default", name, theirs, "argo", force=False)
    backend.update(backend.get_metadata("login"), '{"username": "new"}', token=OTHER_TOKEN)
    assert kubernetes.content(path) == {"username": "new", "password": "first"}


def test_one_text_by_the_rule(kubernetes: KubernetesWorld) -> None:
    with kubernetes.backend(objects="value") as backend:
        backend.create("login", LOGIN, mark=MARK, token=TOKEN)
    assert kubernetes.content(f"{kubernetes.prefix}/login") == {"value": LOGIN}


@pytest.mark.parametrize("value", ['{"n": 1}', '{"a b": "x"}', "{}", '{"value": "x"}', '{"..": "x"}'])
def test_an_object_that_cannot_be_keys_is_one_text(
    kubernetes: KubernetesWorld, backend: Backend, value: str
) -> None:
    backend.create("a", value, mark=MARK, token=TOKEN)
    assert kubernetes.content(f"{kubernetes.prefix}/a") == {"value": value}
    copy = backend.read_value("a")
    assert copy is not None
    assert copy.value == value


def test_binary_keys_are_no_value(kubernetes: KubernetesWorld, backend: Backend) -> None:
    kubernetes.write(f"{kubernetes.prefix}/a", "x")
    kubernetes.cluster.store.merge("default", f"{kubernetes.prefix}.a", {"data": {"bin": "/w=="}}, "kubectl")
    with pytest.raises(ValueUnusable):
        backend.read_value("a")


def test_a_list_reads_no_value_and_all_pages(kubernetes: KubernetesWorld, backend: Backend) -> None:
    for number in range(7):
        kubernetes.write(f"{kubernetes.prefix}/n{number}", "x")
    backend.page_size = 3  # type: ignore[attr-defined]
    assert [seen.name for seen in backend.list_secrets()] == [f"n{number}" for number in range(7)]
    assert kubernetes.cluster.calls["get"] == 0
    assert kubernetes.cluster.calls["list"] == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, TargetBusy), (429, TargetBusy), (410, TargetBusy), (404, BackendError), (0, TargetUnreachable)],
)
def test_a_failing_list_is_never_an_empty_one(
    kubernetes: KubernetesWorld, backend: Backend, status: int, error: type[BackendError]
) -> None:
    kubernetes.cluster.failing["list"] = status
    with pytest.raises(error):
        list(backend.list_secrets())


def test_it_names_what_is_missing(kubernetes: KubernetesWorld, backend: Backend) -> None:
    assert all(each.grant is Grant.GRANTED for each in backend.probe_permissions())
    kubernetes.cluster.denied = {"patch", "list"}
    missing = [each.name for each in backend.probe_permissions() if each.grant is Grant.MISSING]
    assert missing == ["list on secrets", "patch on secrets"]
    with pytest.raises(PermissionMissing, match="list"):
        backend.check_connection()
    text = inspect.getdoc(kubernetes_backend) or ""
    assert all(verb in text for verb in ("get", "list", "create", "patch", "delete"))


def test_each_403_names_who_refuses(kubernetes: KubernetesWorld, backend: Backend) -> None:
    store = kubernetes.cluster.store

    def denied(_: object) -> None:
        why = 'secrets "x" is forbidden: admission webhook "policy.example" denied the request: canary'
        raise ApiError(403, "Forbidden", why)

    def by_policy(_: object) -> None:
        why = "secrets \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: canary"
        raise ApiError(422, "Invalid", why)

    def create() -> None:
        backend.create("b", "1", mark=MARK, token=TOKEN)

    seen = backend.create("a", "1", mark=MARK, token=TOKEN)
    store.quota = 1
    with pytest.raises(QuotaExceeded, match="ResourceQuota"):
        create()
    store.quota, store.terminating = None, {"default"}
    with pytest.raises(RequestRefused, match="is being deleted"):
        create()
    store.terminating = set()
    for rule in (denied, by_policy):
        store.admission = rule
        for act in (create, lambda: backend.update(seen, "2", token=OTHER_TOKEN)):
            with pytest.raises(RequestRefused, match="admission rule") as caught:
                act()
            assert "canary" not in str(caught.value)
    store.admission = lambda _: None
    kubernetes.cluster.denied = {"create"}
    with pytest.raises(PermissionMissing, match="role lacks create on secrets"):
        create()
    kubernetes.cluster.denied = {"patch"}
    with pytest.raises(PermissionMissing, match="role lacks patch on secrets"):
        backend.update(seen, "2", token=OTHER_TOKEN)


def test_a_page_that_is_too_large_is_halved(
    kubernetes: KubernetesWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_ANSWER_BYTES", 8192)
    names = [f"n{number:02}" for number in range(20)]
    for name in names:
        kubernetes.write(f"{kubernetes.prefix}/{name}", "x")
        annotated = {"metadata": {"annotations": {"theirs/large": "x" * (4000 if name == "n13" else 400)}}}
        kubernetes.cluster.store.merge("default", f"{kubernetes.prefix}.{name}", annotated, "kubectl")
    assert [seen.name for seen in backend.list_secrets()] == names
    huge = {"metadata": {"annotations": {"theirs/large": "x" * 9000}}}
    kubernetes.cluster.store.merge("default", f"{kubernetes.prefix}.n13", huge, "kubectl")
    with pytest.raises(TargetUnreachable, match="larger than Keeper reads"):
        list(backend.list_secrets())


def test_a_version_that_a_restored_cluster_uses_again_is_another(
    kubernetes: KubernetesWorld, backend: Backend
) -> None:
    store, key = kubernetes.cluster.store, ("default", f"{kubernetes.prefix}.a")
    backend.create("a", "1", mark=MARK, token=TOKEN)
    snapshot = store.snapshot()
    kubernetes.label(f"{kubernetes.prefix}/a", "x", "y")
    seen = backend.get_metadata("a")
    store.restore(snapshot)
    kubernetes.write(f"{kubernetes.prefix}/a", "theirs")
    now = backend.get_metadata("a")
    assert store.secrets[key]["metadata"]["resourceVersion"] == resource_version(seen.version)
    assert now.remote_id == seen.remote_id
    assert now.version != seen.version
    with pytest.raises(ChangedSinceRead):
        backend.update(seen, "ours", token=OTHER_TOKEN)
    with pytest.raises(ChangedSinceRead):
        backend.delete(seen)


def test_a_repeated_write_of_what_another_has_marked_since_is_not_taken_for_done(
    kubernetes: KubernetesWorld, backend: Backend
) -> None:
    """The answer to the first attempt was lost; the value is still the one that it wrote."""
    seen = backend.create("a", "1", mark=MARK, token=TOKEN)
    made = backend.update(seen, "2", token=OTHER_TOKEN)
    assert backend.update(seen, "2", token=OTHER_TOKEN, repeated=True) == made
    theirs = {"metadata": {"labels": dict.fromkeys(MARK.labels(), "another")}}
    kubernetes.cluster.store.merge("default", f"{kubernetes.prefix}.a", theirs, "kubectl")
    with pytest.raises(ChangedSinceRead):
        backend.update(seen, "2", token=OTHER_TOKEN, repeated=True)


def test_a_404_is_only_what_the_api_server_says(kubernetes: KubernetesWorld, backend: Backend) -> None:
    backend.create("a", "1", mark=MARK, token=TOKEN)
    kubernetes.cluster.failing["get"] = 404
    with pytest.raises(AnswerUnexpected):
        backend.get_metadata("a")
    kubernetes.cluster.failing.clear()
    kubernetes.cluster.store.namespaces = {}
    for act in (lambda: backend.create("b", "1", mark=MARK, token=TOKEN), backend.identify_system):
        with pytest.raises(MountMissing, match="namespace"):
            act()


def test_a_create_that_met_another_count_is_tried_again(
    kubernetes: KubernetesWorld, backend: Backend
) -> None:
    """A quota that two writers count at once is answered by 409 Conflict, not AlreadyExists."""
    kubernetes.cluster.failing["create"] = 409
    with pytest.raises(TargetBusy):
        backend.create("a", "1", mark=MARK, token=TOKEN)


def test_it_waits_as_long_as_the_api_server_asks(kubernetes: KubernetesWorld, backend: Backend) -> None:
    kubernetes.cluster.failing["list"], kubernetes.cluster.headers = 429, {"Retry-After": "7"}
    with pytest.raises(TargetBusy) as caught:
        backend.check_connection()
    assert caught.value.retry_after == 7


def test_a_wrong_token_is_refused_and_never_repeated(kubernetes: KubernetesWorld) -> None:
    with (
        KubernetesSecrets(destination=kubernetes.destination, credentials={"token": f"{BEARER}x"}) as backend,
        pytest.raises(CredentialsRejected) as caught,
    ):
        backend.check_connection()
    assert BEARER not in str(caught.value)


@pytest.mark.parametrize("name", ["a+b", "a@b", "a..b", "-a", "x" * 254])
def test_names_that_kubernetes_does_not_take_are_refused(
    kubernetes: KubernetesWorld, backend: Backend, name: str
) -> None:
    assert backend.explain_refusal("create", name)
    with pytest.raises(NameUnusable):
        backend.create(name, "x", mark=MARK, token=TOKEN)
    assert not kubernetes.cluster.store.secrets


def test_no_certificate_is_refused(kubernetes: KubernetesWorld) -> None:
    with pytest.raises(BadDestination) as caught:
        kubernetes.backend(ca_certificate="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----")
    assert caught.value.field == "ca_certificate"


# --- By plan and apply ------------------------------------------------------------------------


def test_a_name_of_keepers_comes_back_from_its_annotation(stage: Stage, kubernetes: KubernetesWorld) -> None:
    for name in ("app/DB_PASSWORD", "app/other"):
        stage.keep(name, "x")
    assert stage.sync().counts == {"create": 2}
    names = {name for _, name in kubernetes.cluster.store.secrets}
    assert names == {f"{kubernetes.prefix}.app.db-password", f"{kubernetes.prefix}.app.other"}
    assert stage.sync().counts == {"unchanged": 2}


def test_what_another_client_made_again_keeps_the_name_of_keepers(stage: Stage) -> None:
    stage.rules(direction="both", conflict="ask")
    stage.keep("app/DB_PASSWORD", "x")
    stage.sync()
    stage.world.remove(stage.path("app/DB_PASSWORD"))
    stage.edit("app/DB_PASSWORD", "theirs")
    stage.edit("their/own", "value")
    items = {item.name: item.act for item in PlanItem.objects.filter(plan=stage.plan())}
    assert items == {"app/DB_PASSWORD": "pull", "their/own": "pull"}


def test_the_plan_refuses_names_that_become_one(stage: Stage) -> None:
    for name in ("app/a_b", "app/a-b", "app/fine", "app/a@b"):
        stage.keep(name, "x")
    plan = stage.plan()
    items = {item.name: item for item in PlanItem.objects.filter(plan=plan)}
    assert {name: item.act for name, item in items.items()} == {
        "app/a_b": "refused",
        "app/a-b": "refused",
        "app/fine": "create",
        "app/a@b": "refused",
    }
    assert "become one name" in items["app/a_b"].reason
    assert "rename" in items["app/a@b"].reason


def test_an_adopted_secret_is_in_sync_also_by_metadata_alone(stage: Stage) -> None:
    from sync_app.planning.service import refresh_states

    stage.edit("theirs", "value")
    options = {"names": ["theirs"], "mode": "keep_theirs"}
    assert stage.apply(stage.plan(kind=PlanKind.ADOPT, options=options)).counts == {"adopt": 1}
    with stage.world.backend() as backend:
        assert refresh_states(stage.fresh(), backend=backend) == {"in_sync": 1}
    stage.keep("theirs", "by Keeper")
    assert stage.sync().counts == {"update": 1}
    assert stage.theirs("theirs") == "by Keeper"
    stage.apply(stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"}))
    assert stage.world.labels(stage.path("theirs")) == {}


def test_an_adoption_that_replaces(stage: Stage) -> None:
    stage.edit("theirs", "value")
    stage.keep("theirs", "by Keeper")
    options = {"names": ["theirs"], "mode": "replace"}
    plan = stage.apply(stage.plan(kind=PlanKind.ADOPT, options=options))
    assert stage.items(plan) == {"theirs": ("adopt", "done")}
    assert stage.theirs("theirs") == "by Keeper"
    assert stage.sync().counts == {"unchanged": 1}


def test_an_edit_beside_the_value_is_no_conflict_with_a_new_value(
    stage: Stage, kubernetes: KubernetesWorld
) -> None:
    for name in ("labelled", "edited"):
        stage.keep(name, "first")
    write.put(
        actor=stage.alice,
        environment=stage.environment,
        name="login",
        value=LOGIN,
        secret_type=SecretType.JSON,
    )
    stage.sync()
    for name in ("labelled", "login"):
        kubernetes.label(stage.path(name), "team", "theirs")
    stage.edit("edited", "theirs")
    for name in ("labelled", "edited"):
        stage.keep(name, "second")
    write.put(
        actor=stage.alice,
        environment=stage.environment,
        name="login",
        value='{"username": "new"}',
        secret_type=SecretType.JSON,
    )
    assert stage.sync().counts == {"conflict": 1, "update": 2}
    assert (stage.theirs("labelled"), stage.theirs("edited")) == ("second", "theirs")
    assert kubernetes.content(stage.path("login")) == {"username": "new"}
    assert kubernetes.labels(stage.path("labelled"))["team"] == "theirs"


def test_json_is_keys_and_a_second_pass_does_nothing(stage: Stage, kubernetes: KubernetesWorld) -> None:
    write.put(
        actor=stage.alice,
        environment=stage.environment,
        name="app/login",
        value=LOGIN,
        secret_type=SecretType.JSON,
    )
    assert stage.sync().counts == {"create": 1}
    assert kubernetes.content(stage.path("app/login")) == {"username": "app", "password": "first"}
    assert stage.sync().counts == {"unchanged": 1}


def test_what_a_webhook_stores_in_place_of_a_value_is_not_delivered(
    stage: Stage, kubernetes: KubernetesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = kubernetes.cluster.store
    create, apply = store.create, store.apply
    altered = {"data": {"value": base64.b64encode(b"by a webhook").decode()}}
    stage.keep("app/old", "1")
    stage.sync()
    stage.keep("app/old", "2")
    stage.keep("app/new", "2")
    with monkeypatch.context() as patched:
        patched.setattr(store, "create", lambda place, body, manager: create(place, body | altered, manager))
        patched.setattr(
            store,
            "apply",
            lambda place, name, body, manager, **how: apply(place, name, body | altered, manager, **how),
        )
        stage.sync()
        for name in ("app/old", "app/new"):
            assert stage.theirs(name) == "by a webhook"
            assert stage.entry(name).state == "failed"
            assert "webhook" in stage.entry(name).reason
    # Who stored it is not known: a person chooses.
    stage.sync()
    assert {stage.entry(name).state for name in ("app/old", "app/new")} <= {"conflict", "unmanaged"}
    assert stage.theirs("app/old") == stage.theirs("app/new") == "by a webhook"


def test_deletion_and_what_lost_its_mark(stage: Stage, kubernetes: KubernetesWorld) -> None:
    stage.rules(deletion="recoverable", conflict="keeper_wins", budget_number=10)
    for name in ("gone", "unmarked", "recreated", "kept"):
        stage.keep(name, "first")
    stage.sync()
    patch = {"metadata": {"labels": dict.fromkeys(MARK.labels())}}
    kubernetes.cluster.store.merge("default", f"{kubernetes.prefix}.unmarked", patch, "kubectl")
    kubernetes.remove(stage.path("recreated"))
    stage.edit("recreated", "theirs")
    stage.drop("gone")
    for name in ("unmarked", "recreated"):
        stage.keep(name, "second")
    assert stage.sync().counts == {"delete": 1, "ownership_lost": 2, "unchanged": 1}
    assert stage.world.labels_or_none(stage.path("gone")) is None
    for name in ("unmarked", "recreated"):
        stage.drop(name)
    stage.sync()
    assert stage.theirs("recreated") == "theirs"
    assert stage.theirs("unmarked") == "first"


def test_another_cluster_under_the_address_is_found(stage: Stage, kubernetes: KubernetesWorld) -> None:
    kubernetes.cluster.store.namespaces["default"] = "00000000-0000-0000-0000-000000000000"
    with stage.world.backend() as backend, pytest.raises(SystemMismatch):
        require_same_system(stage.fresh(), backend)


def test_a_name_that_is_absent_is_absent(backend: Backend) -> None:
    assert backend.get_metadata("none").presence is Presence.ABSENT


def workload(name: str, **spec: object) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"template": {"metadata": {}, "spec": spec}}}


def restarts(kubernetes: KubernetesWorld) -> dict[str, str]:
    """Return the annotation of each workload that has one."""
    found = {}
    for (_, name), each in kubernetes.cluster.workloads.items():
        template = each["spec"]["template"]
        if annotation := template["metadata"].get("annotations", {}).get("keeper/secrets"):
            found[name] = annotation
    return found


def test_workloads_that_use_a_changed_secret_are_restarted(cast: Cast, kubernetes: KubernetesWorld) -> None:
    kubernetes.destination["restart"] = "restart"
    stage = Stage(cast, kubernetes)
    of_a, of_b = f"{kubernetes.prefix}.a", f"{kubernetes.prefix}.b"
    reading = {"env": [{"name": "B", "valueFrom": {"secretKeyRef": {"name": of_b, "key": "value"}}}]}
    kubernetes.cluster.workloads = {
        ("deployments", "mounts"): workload("mounts", volumes=[{"secret": {"secretName": of_a}}]),
        ("statefulsets", "reads"): workload("reads", containers=[reading]),
        ("daemonsets", "other"): workload("other", containers=[{"envFrom": [{"secretRef": {"name": "x"}}]}]),
    }
    for name in ("a", "b"):
        stage.keep(name, "first")
    stage.sync()
    first = restarts(kubernetes)
    assert first.keys() == {"mounts", "reads"}
    stage.sync()
    assert restarts(kubernetes) == first
    stage.keep("b", "second")
    stage.sync()
    after = restarts(kubernetes)
    assert after["mounts"] == first["mounts"]
    assert after["reads"] != first["reads"]


def test_workloads_are_listed_to_the_end() -> None:
    asked = []

    class Cluster:
        """An API server with a workload on each of two pages."""

        def request(self, method: str, path: str, *, query: dict[str, str], **_: object) -> object:
            asked.append((method, path.rpartition("/")[2], query.get("continue")))
            name = "second" if query.get("continue") else "first"
            item = workload(name, volumes=[{"secret": {"secretName": "a"}}])
            following = {} if "continue" in query else {"continue": "more"}
            return {"items": [item], "metadata": following}

    cluster: Any = Cluster()
    restart_workloads(cluster, "default", {"a": "1"})
    assert [name for method, name, _ in asked if method == "PATCH"] == ["first", "second"] * 3


def test_a_restart_that_fails_is_shown_and_made_up_for(cast: Cast, kubernetes: KubernetesWorld) -> None:
    kubernetes.destination["restart"] = "restart"
    stage = Stage(cast, kubernetes)
    kubernetes.cluster.workloads = {
        ("deployments", "web"): workload(
            "web", volumes=[{"secret": {"secretName": f"{kubernetes.prefix}.a"}}]
        )
    }
    kubernetes.cluster.denied = {"patch-workload"}
    stage.keep("a", "first")
    stage.sync()
    assert "patch" in Run.objects.filter(target=stage.target).latest("pk").error
    assert stage.theirs("a") == "first"
    kubernetes.cluster.denied = set()
    stage.sync()
    assert restarts(kubernetes).keys() == {"web"}
    assert Run.objects.filter(target=stage.target).latest("pk").error == ""


def test_each_way_in_which_a_pod_uses_a_secret_counts() -> None:
    one = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "variable", "key": "k"}}}
    projected = {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "none"}}]}
    template = {
        "spec": {
            "volumes": [{"secret": {"secretName": "volume"}}, {"projected": projected}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "before"}}]}],
            "containers": [{"envFrom": [{"secretRef": {"name": "all"}}], "env": [one]}],
        }
    }
    assert secrets_of(template) == {"volume", "projected", "before", "all", "variable"}
