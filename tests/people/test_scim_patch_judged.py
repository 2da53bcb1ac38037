"""PATCH as two other implementations apply it: equal results, or one of the differences that Keeper means."""

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_app.scim.patch import patched
from gateway_app.scim.schema import MESSAGES, USER, ScimError
from tests.servers.packages.node_packages import node_modules
from tests.servers.packages.python_packages import environment

Resource = dict[str, Any]

LONG: Final = pytest.param(10_000, marks=pytest.mark.torture)
_ADDRESSES: Final = ("a@x.y", "b@x.y", "c@x.y")
_TEXTS: Final = ("a", "B", "Alice Berg", "x@y.z", "é")
_TYPES: Final = ("work", "home")
# Reads a case a line, and writes the resource that it makes of it, or why it refuses.
_JUDGE: Final = f"""
import json, sys
from pydantic import ValidationError
from scim2_models import PatchOp, User
from scim2_models.exceptions import SCIMException
for line in sys.stdin:
    resource, operation = json.loads(line)
    user = User.model_validate({{"schemas": ["{USER.urn}"], **resource}})
    body = {{"schemas": ["{MESSAGES}PatchOp"], "Operations": [operation]}}
    try:
        PatchOp[User].model_validate(body).patch(user)
        print(json.dumps(user.model_dump()))
    except (SCIMException, ValidationError) as error:
        print(json.dumps(type(error).__name__))
"""
# The same with npm's scim-patch.
_OTHER_JUDGE: Final = """
import { createInterface } from "node:readline";
import scim from "scim-patch";
for await (const line of createInterface({ input: process.stdin })) {
  const [resource, operation] = JSON.parse(line);
  try {
    const { meta, ...user } = scim.scimPatch({ meta: {}, ...resource }, [operation], { mutateDocument: false });
    console.log(JSON.stringify(user));
  } catch (error) {
    console.log(JSON.stringify(error.constructor.name));
  }
}
"""
_FILTERED: Final = re.compile(r'emails\[(type|value) eq "([^"]+)"\]')


def drawn(draw: random.Random) -> dict[str, Any]:
    """Return an operation of one of the forms that providers send."""
    text, kind = draw.choice(_TEXTS), draw.choice(_TYPES)
    email = {"value": draw.choice(_ADDRESSES), "type": kind, "primary": draw.random() < 0.3}
    path, value = draw.choice(
        [
            ("userName", text),
            ("displayName", text),
            ("active", draw.random() < 0.5),
            ("name", {"givenName": text}),
            ("name.givenName", text),
            ("name.familyName", text),
            ("emails", [email]),
            (f'emails[type eq "{kind}"]', {"value": draw.choice(_ADDRESSES)}),
            (f'emails[value eq "{draw.choice(_ADDRESSES)}"].type', kind),
        ]
    )
    op = draw.choice(["add", "replace", "remove"])
    if op == "remove":
        return {"op": op, "path": path}
    if path.isalpha() and draw.random() < 0.3:
        return {"op": op, "value": {path: value}}
    return {"op": op, "path": path, "value": value}


def applied(resource: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return patched(USER, resource, {"schemas": [f"{MESSAGES}PatchOp"], "Operations": [operation]})
    except ScimError:
        return None


def plain(resource: dict[str, Any]) -> dict[str, Any]:
    """Return what two implementations may not differ in: no order of addresses, and nothing that is empty."""
    emails = [{name: part for name, part in each.items() if part} for each in resource.get("emails") or []]
    rest = {name: part for name, part in resource.items() if part not in (None, {}, []) and name != "schemas"}
    return rest | (
        {"emails": sorted(emails, key=lambda each: json.dumps(each, sort_keys=True))} if emails else {}
    )


def played(
    count: int, *judge: str | Path
) -> list[tuple[Resource, Resource, Resource | None, Resource | str]]:
    """Return cases: a resource, an operation, what Keeper makes of them, and what a judge does."""
    draw, cases = random.Random(7), []
    resource: Resource = {"userName": "alice"}
    for _ in range(count):
        operation = drawn(draw)
        result = applied(resource, operation)
        cases.append((resource, operation, result))
        resource = result if result is not None else resource
    done = subprocess.run(
        judge, cwd=node_modules().parent,
        input="".join(f"{json.dumps([resource, operation])}\n" for resource, operation, _ in cases),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == count, done.stderr[-2_000:]
    return [(*case, answer) for case, answer in zip(cases, answers, strict=True)]


def is_once(ours: Resource, theirs: Resource) -> bool:
    """Return whether all that differs is that an address is there once: the one that is added changes it."""
    values = [each["value"] for each in theirs.get("emails") or []]
    return (
        {**plain(ours), "emails": []} == {**plain(theirs), "emails": []}
        and len(values) > len(set(values))
        and sorted(each["value"] for each in ours["emails"]) == sorted(set(values))
    )


@pytest.mark.parametrize("count", [1_000, LONG])
def test_another_implementation_comes_to_the_same(count: int) -> None:
    same = 0
    for before, operation, ours, theirs in played(
        count, environment("scim") / "bin" / "python", "-c", _JUDGE
    ):
        told = (before, operation, ours, theirs)
        if ours is None or isinstance(theirs, str):
            # What the path does not find is created: Entra sends the first address of a person so.
            is_created = (
                theirs == "NoTargetException" and "[" in operation["path"] and operation["op"] != "remove"
            )
            assert ours is None or is_created, told
            # Always there in Keeper, as its schema says; the model of the standard's schema takes it away.
            is_kept = (operation["op"], operation["path"]) == ("remove", "active")
            assert isinstance(theirs, str) or is_kept, told
            same += ours is None
        elif plain(ours) == plain(theirs):
            same += 1
        else:
            assert is_once(ours, theirs), told
    assert same > count / 2


@pytest.mark.parametrize("count", [1_000, LONG])
def test_a_third_one_comes_to_the_same_or_asks_less(count: int) -> None:
    same = 0
    for before, operation, ours, theirs in played(count, "node", "--input-type=module", "-e", _OTHER_JUDGE):
        told, path = (before, operation, ours, theirs), operation.get("path", "")
        if ours is None:
            # It takes the attributes away that a person has in any case.
            assert operation["op"] == "remove", told
            assert path in {"userName", "active"}, told
        elif not isinstance(theirs, str) and plain(ours) == plain(theirs):
            same += 1
        elif not _finds(before, path):
            # What the path does not find is created, or is not there to be removed; it refuses, or does nothing.
            assert isinstance(theirs, str) or plain(theirs) == plain(before), told
            assert operation["op"] != "remove" or plain(ours) == plain(before), told
        elif not isinstance(theirs, str) and "name" in operation.get("value", {}) and not path:
            # RFC 7644, 3.5.2.3: parts that the value leaves out stay.
            assert ours["name"] == {**before["name"], **theirs["name"]}, told
        else:
            assert not isinstance(theirs, str), told
            # RFC 7643, 2.4: one address is the primary one.
            is_one = sum(each.get("primary", False) for each in ours["emails"]) <= 1
            is_alike = plain(_unmarked(ours)) == plain(_unmarked(theirs))
            assert (is_one and is_alike) or is_once(ours, theirs), told
    assert same > count / 2


def _finds(before: Resource, path: str) -> bool:
    """Return whether the filter of a path finds an address; a path without one finds what it names."""
    found = _FILTERED.match(path)
    return not found or any(each.get(found[1]) == found[2] for each in before.get("emails") or [])


def _unmarked(resource: Resource) -> Resource:
    """Return a resource none of whose addresses is the primary one."""
    return {**resource, "emails": [{**each, "primary": False} for each in resource.get("emails") or []]}
