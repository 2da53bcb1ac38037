"""Random requests of KV v2 to a real OpenBao and to Keeper: status, shape and values are the same.

What differs is named in `DIFFERENCES`, and docs/programs.md has it; anything else fails.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import pytest

from environments_app.tests.cast import Cast
from gateway_app.tests.kv2.conftest import Ask, token
from gateway_app.tests.kv2.test_numbers import Send, of_keeper, of_openbao
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
pytestmark = [pytest.mark.django_db(transaction=True)]
STEPS: Final = 25
TIMES: Final = frozenset({"created_time", "updated_time"})
PATHS: Final = ("app/db", "app/key", "app/part/x", "z")
VALUES: Final[tuple[dict[str, Any], ...]] = (
    {"v": "one"},
    {"v": "two", "n": 1},
    {"value": "text"},
    {"in": {"a": {"b": 1}}, "n": None},
    {},
)


class Step(NamedTuple):
    """A request: what it does, to which path, with which query and body."""

    method: str
    kind: str
    path: str
    query: str = ""
    body: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.kind}/{self.path}{self.query} {json.dumps(self.body)}"


Answer = tuple[int, Any]
# By name: whether it is what makes an answer of Keeper another than that of OpenBao, to the same step.
DIFFERENCES: Final[dict[str, Callable[[Step, Answer, Answer], bool]]] = {}


def steps(chance: random.Random) -> Iterator[Step]:
    """Yield requests of one sequence."""
    for _ in range(STEPS):
        path, number = chance.choice(PATHS[:2] if chance.random() < 0.8 else PATHS), chance.randint(1, 6)
        versions = {"versions": sorted({number, chance.randint(1, 6)})}
        value = chance.choice(VALUES)
        written: dict[str, Any] = {"data": value}
        if chance.random() < 0.4:
            written["options"] = {"cas": chance.choice((0, 1, 2, 3, 4, None))}
        metadata = {
            key: given
            for key, given in (
                ("custom_metadata", chance.choice(({"team": "a"}, {"team": "b", "x": "1"}))),
                ("max_versions", chance.choice((0, 2, 5))),
                ("cas_required", chance.choice((True, False, False))),
            )
            if chance.random() < 0.5
        }
        yield chance.choice(
            (
                *[Step("POST", "data", path, body=written)] * 5,
                *[Step("GET", "data", path)] * 3,
                *[Step("GET", "data", path, f"?version={number}")] * 3,
                *[Step("DELETE", "data", path)] * 2,
                Step("PATCH", "data", path, body=written),
                *[Step("POST", "delete", path, body=versions)] * 2,
                *[Step("POST", "undelete", path, body=versions)] * 2,
                Step("POST", "destroy", path, body=versions),
                *[Step("GET", "metadata", path)] * 3,
                Step("POST", "metadata", path, body=metadata),
                Step("PATCH", "metadata", path, body=metadata),
                Step("DELETE", "metadata", path),
                Step("LIST", "metadata", chance.choice(("", "app", "app/part", "none"))),
                Step("LIST", "metadata", "app", chance.choice(("?after=db", "?limit=1", "?after=a&limit=2"))),
                Step("GET", "subkeys", path),
                Step("GET", "subkeys", path, chance.choice((f"?version={number}", "?depth=1", "?depth=2"))),
            )
        )


class Twins:
    """The same steps sent to both; numbers of Keeper continue where OpenBao's begin again."""

    def __init__(self, bao: Send, keeper: Send, folder: str) -> None:
        self._bao, self._keeper, self._folder = bao, keeper, folder
        self._ahead: Counter[str] = Counter()

    def send(self, step: Step) -> tuple[Answer, Answer]:
        bao = self._bao(step.method, self._address(step, ""), step.body)
        ahead = self._ahead[step.path]
        shifted = _shifted(step, ahead)
        keeper = self._keeper(step.method, self._address(shifted, "development"), shifted.body)
        if step.kind == "data" and step.method in {"POST", "PATCH"} and (bao[0], keeper[0]) == (200, 200):
            self._ahead[step.path] = ahead = keeper[1]["data"]["version"] - bao[1]["data"]["version"]
        return (bao[0], shown(bao[1], 0)), (keeper[0], shown(keeper[1], ahead))

    def align(self, step: Step) -> None:
        """Take away what OpenBao keeps and Keeper refused."""
        if step.method == "POST":
            self._bao("DELETE", self._address(step, ""), None)

    def _address(self, step: Step, mount: str) -> str:
        path = f"{self._folder}/{step.path}".rstrip("/")
        return f"{mount or 'secret'}/{step.kind}/{path}{step.query}"


def _shifted(step: Step, ahead: int) -> Step:
    """Return a step with the numbers that Keeper has for the same versions."""
    body = step.body
    if body and "versions" in body:
        body = {"versions": [number + ahead for number in body["versions"]]}
    elif body and (cas := (body.get("options") or {}).get("cas")):
        body = {**body, "options": {"cas": cas + ahead}}
    query = step.query
    if query.startswith("?version="):
        query = f"?version={int(query.partition('=')[2]) + ahead}"
    return step._replace(body=body, query=query)


def shown(told: Any, ahead: int) -> Any:
    """Return an answer without what differs by time and request, with the numbers of OpenBao."""
    if isinstance(told, list):
        return [shown(each, ahead) for each in told]
    if not isinstance(told, dict):
        return told
    found: dict[str, Any] = {}
    for name, value in told.items():
        if name == "request_id":
            continue
        if name in TIMES:
            found[name] = "time"
        elif name == "deletion_time":
            found[name] = bool(value)
        elif name in {"version", "current_version", "oldest_version"} and isinstance(value, int):
            found[name] = value - ahead if value else 0
        elif name == "versions" and isinstance(value, dict):
            found[name] = {str(int(number) - ahead): shown(facts, ahead) for number, facts in value.items()}
        else:
            found[name] = shown(value, ahead)
    return found


def compare(bao: Send, keeper: Send, seeds: list[int]) -> tuple[int, Counter[str], list[str]]:
    """Return how many answers were equal, how many differ as documented, and the others."""
    equal, documented, others = 0, Counter[str](), []
    for seed in seeds:
        twins = Twins(bao, keeper, f"s{seed}")
        said = []
        for step in steps(random.Random(seed)):
            theirs, ours = twins.send(step)
            said.append(f"{step} -> {theirs[0]}")
            if theirs == ours:
                equal += 1
            elif name := next((name for name, is_so in DIFFERENCES.items() if is_so(step, theirs, ours)), ""):
                documented[name] += 1
                twins.align(step)
            else:
                others.append("\n".join([f"seed {seed}", *said, f"OpenBao {theirs}", f"Keeper  {ours}"]))
                break
    return equal, documented, others


@pytest.fixture
def both(cast: Cast, ask: Ask, openbao: tuple[str, str]) -> tuple[Send, Send]:
    manager = token(cast, "manager")

    def as_manager(method: str, path: str, body: bytes) -> Any:
        return ask(method, path, body, token=manager)

    return of_openbao(openbao), of_keeper(as_manager)


def judge(both: tuple[Send, Send], seeds: list[int]) -> None:
    equal, documented, others = compare(*both, seeds)
    assert not others, f"{len(others)} differ, {equal} equal, {dict(documented)}:\n\n" + "\n\n".join(
        others[:20]
    )
    assert equal >= 0.97 * (equal + documented.total()), documented


def test_random_requests_are_answered_as_by_openbao(both: tuple[Send, Send]) -> None:
    judge(both, [*range(12)])


@pytest.mark.parametrize("kind", ["data", "metadata", "delete", "undelete", "destroy"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_path_that_ends_in_a_slash_is_not_written(both: tuple[Send, Send], method: str, kind: str) -> None:
    bao, keeper = both
    for send, mount in ((bao, "secret"), (keeper, "development")):
        assert send("POST", f"{mount}/data/slash/a", {"data": {"v": "one"}})[0] == 200
    sent = {"data": {"v": "two"}, "versions": [1]} if kind != "metadata" else {"custom_metadata": {"a": "b"}}
    theirs = bao(method, f"secret/{kind}/slash/a/", sent)
    ours = keeper(method, f"development/{kind}/slash/a/", sent)
    assert ours == theirs
    assert keeper("GET", "development/metadata/slash/a", None)[1]["data"]["current_version"] == 1


@pytest.mark.torture
def test_random_requests_are_answered_as_by_openbao_for_long(both: tuple[Send, Send]) -> None:
    judge(both, [*range(1_000, 1_300)])
