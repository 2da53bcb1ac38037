"""A deleted environment is nobody's: each route and page answers as for one that never was."""

import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from django.test import Client

from environments_app.authorization.principals import system_principal
from environments_app.environments.deletion import delete_environment
from environments_app.models import Environment
from secrets_app.models import Secret
from secrets_app.tests.kept import send
from tests.access.access_scene import Scene, browser_of, call_as, shared_scene, shown, stage, undone
from tests.access.test_access_matrix import TABLE
from tests.access.test_page_matrix import PAGES, page_path

__all__ = ["shared_scene", "stage"]
# The audit log keeps what happened there, and who reads all of it reads that.
LOGS: Final = {"api-events", "api-event-items", "activity", "activity-event", "activity-export", "dashboard"}
# A review of it stays with who administers reviews, for evidence.
REVIEWS: Final = {key[0] for key in TABLE if "review" in key[0]} | {
    name for name in PAGES if "review" in name
}
# What a shell, or an administrator of deleted environments, is shown.
DELETED: Final = {"api-deleted-environments", "deleted-environments", "environment-list"}
_CHANGING: Final = re.compile(
    r'csrf\w*" value="\w+"|nonce="[^"]+"|nonce-[\w=+/-]+|request_id": ?"[^"]+"|[0-9a-f]{8}-[0-9a-f-]{27}'
)


class Absent(Scene):
    """The scene of what never was."""

    event_id = 987654


def gone(place: Scene) -> Scene:
    """Delete the environment of a scene; return the same scene of an environment that never was."""
    delete_environment(actor=system_principal(is_admin=True), environment=place.environment)
    # A token that administers, and a departure, are of no environment.
    of_none = {"admin_token_id", "departure_id"}
    ids = {name: 987654 for name in vars(place) if name.endswith("_id")}
    known = vars(place) | ids | {name: getattr(place, name) for name in of_none}
    return Absent(
        **known
        | {
            "environment": Environment(name="nowhere", pk=987654),
            "secret": Secret(pk=987654, name="part/key"),
            "member": type(place.member)(pk=987654),
        }
    )


def answer(response: Any, place: Scene) -> tuple[int, str]:
    text = _CHANGING.sub("", shown(response))
    for known in ("nowhere", place.environment.name):
        text = text.replace(known, "NAME")
    return response.status_code, re.sub(r"\d{1,6}", "0", text)


RESTORES: Final = {"api-environment-restore", "environment-restore"}


@pytest.mark.parametrize(
    ("route", "method"), [key for key in TABLE if key[0] not in RESTORES], ids=lambda value: value
)
def test_a_route_of_the_api_knows_it_no_longer(
    stage: Callable[[str], Scene], one_document: None, route: str, method: str
) -> None:
    place = stage(route)
    callers: dict[str, Client] = {
        caller: call_as(caller, place) for caller in ("admin", "admin token", "manager", "viewer")
    }
    callers["alice"] = Client()
    callers["alice"].force_login(
        place.cast.alice, backend="environments_app.users.password_backend.LocalBackend"
    )
    absent, body = gone(place), TABLE[route, method].body
    for caller, client in callers.items():
        path, other = place.path(route), absent.path(route)
        with undone():
            found = send(client, method, path, place.body(body))
            told = answer(found, place)
        if caller in {"manager", "viewer"}:
            assert told[0] in {401, TABLE[route, method].ok}, caller
            continue
        if route in REVIEWS and caller != "alice":
            continue
        if route not in LOGS | DELETED and method == "GET":
            assert place.environment.name not in shown(found), caller
        if route not in LOGS and (path != other or place.body(body) != absent.body(body)):
            with undone():
                assert told == answer(send(client, method, other, absent.body(body)), place), caller


@pytest.mark.parametrize("name", [name for name in PAGES if name not in RESTORES])
def test_a_page_knows_it_no_longer(stage: Callable[[str], Scene], name: str) -> None:
    place = stage(name)
    callers = {caller: browser_of(caller, place) for caller in ("manager", "admin")}
    absent = gone(place)
    for rule in PAGES[name]:
        for caller, client in callers.items():
            if name in REVIEWS and caller == "admin":
                continue
            path, other = page_path(place, name), page_path(absent, name)
            told = []
            for where, scene in ((path, place), (other, absent)):
                form = {
                    key: scene.environment.pk if value == "{environment}" else scene.body(value)
                    for key, value in (rule.form or {}).items()
                }
                with undone():
                    sent: Any = client.get(where) if rule.method == "GET" else client.post(where, form)
                    told.append((sent.status_code, shown(sent)))
            if path != other and name not in LOGS:
                assert told[0][0] == told[1][0], (caller, rule.method)
                assert told[0][0] in {404, 302, 403, 200}, (caller, rule.method)
            if name not in LOGS | DELETED and rule.method == "GET":
                assert place.environment.name not in told[0][1], (caller, rule.method)
