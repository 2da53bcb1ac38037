"""The conditions of writes: If-Match by strong comparison, If-None-Match to create only (RFC 9110, 13.1)."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from environments_app.tests.cast import Cast
from secrets_app.api import environment_secrets
from secrets_app.models import Secret
from secrets_app.queries import lookup
from secrets_app.services import lifecycle
from secrets_app.services.read import reveal
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = pytest.mark.every_database
Bearer = Callable[..., Client]
BY_NAME = "/api/environments/development/secrets/a"


def put(client: Client, path: str = BY_NAME, value: str = "new", **headers: str) -> Any:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return client.put(path, {"value": value}, content_type="application/json", headers=named)


def stored(cast: Cast) -> str:
    secret = Secret.objects.select_related("environment").get(name="a", live=True)
    return reveal(actor=cast.principal(cast.alice), secret=secret).value


def test_if_none_match_star_creates_and_never_replaces(cast: Cast, bearer: Bearer) -> None:
    editor = bearer("editor", cast.development)
    assert put(editor, If_None_Match="*").status_code == 201
    answer = put(editor, value="replaced", If_None_Match="*")
    assert (answer.status_code, answer.json()["title"]) == (412, "The secret has changed")
    assert (stored(cast), Secret.objects.get(name="a").current_number) == ("new", 1)


@pytest.mark.parametrize(
    "header", ['"*"', 'W/"*"', "W/*", '*, "9-9"', '"9-9", *', "9-9", "nonsense", " * ", "**", "", " "]
)
def test_a_condition_that_is_not_understood_never_lets_a_put_replace(
    cast: Cast, bearer: Bearer, header: str
) -> None:
    editor = bearer("editor", cast.development)
    assert put(editor, If_None_Match=header).status_code == 201
    assert put(editor, value="replaced", If_None_Match=header).status_code == 412
    assert stored(cast) == "new"


def test_of_writers_who_only_create_one_wins(
    cast: Cast, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = bearer("editor", cast.development)
    valid = environment_secrets.NamedSecretView.valid

    def then(view: Any, serializer: Any) -> Any:
        keep(cast, "a", value="of another")
        return valid(view, serializer)

    monkeypatch.setattr(environment_secrets.NamedSecretView, "valid", then)
    assert put(editor, If_None_Match="*").status_code == 412
    assert stored(cast) == "of another"


def test_the_state_of_a_secret_is_not_that_of_another_with_its_name(cast: Cast, bearer: Bearer) -> None:
    editor, first = bearer("editor", cast.development), keep(cast, "a")
    state = editor.get(BY_NAME)["ETag"]
    lifecycle.rename(actor=cast.principal(cast.alice), secret=first, name="b")
    keep(cast, "a", value="of another")
    answer = editor.get(BY_NAME, headers={"If-None-Match": state})
    assert (answer.status_code, answer.json()["value"]) == (200, "of another")
    assert put(editor, value="replaced", If_Match=state).status_code == 412
    assert stored(cast) == "of another"


def test_if_none_match_names_states_that_are_not_to_be_replaced(cast: Cast, bearer: Bearer) -> None:
    editor, secret = bearer("editor", cast.development), keep(cast, "a")
    assert put(editor, If_None_Match=f'"9-9", W/"{secret.etag}"').status_code == 412
    assert stored(cast) == VALUE
    assert put(editor, If_None_Match='"9-9"').status_code == 200


def test_a_state_that_comes_between_the_condition_and_the_write_is_not_replaced(
    cast: Cast, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor, secret = bearer("editor", cast.development), keep(cast, "a")
    found = lookup.find_in_environment

    def then(**arguments: Any) -> Any:
        seen = found(**arguments)
        change(cast, secret, "of another")
        return seen

    monkeypatch.setattr(environment_secrets, "find_in_environment", then)
    for headers in ({"If_None_Match": '"9-9"'}, {"If_Match": f'"{secret.etag}"'}):
        assert put(editor, **headers).status_code == 412
        assert stored(cast) == "of another"
        secret = Secret.objects.select_related("environment").get(pk=secret.pk)


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ('"{}"', 200),
        ('"9-9", "{}"', 200),
        ('"{}","9-9"', 200),
        ("*", 200),
        ("{}", 200),
        ('W/"{}"', 412),
        ('"9-9", W/"{}"', 412),
        ('"9-9"', 412),
        ("9-9", 412),
        ("", 412),
    ],
)
def test_if_match_compares_strongly_and_takes_several(
    cast: Cast, bearer: Bearer, tags: str, status: int, by_name: bool
) -> None:
    editor, secret = bearer("editor", cast.development), keep(cast, "a")
    path = BY_NAME if by_name else f"/api/secrets/{secret.pk}"
    assert put(editor, path, If_Match=tags.format(secret.etag)).status_code == status
    assert stored(cast) == ("new" if status == 200 else VALUE)


def test_a_delete_takes_several_states_and_no_weak_one(cast: Cast, bearer: Bearer) -> None:
    editor, secret = bearer("editor", cast.development), keep(cast, "a")
    weak = editor.delete(BY_NAME, headers={"If-Match": f'W/"{secret.etag}"'})
    strong = editor.delete(BY_NAME, headers={"If-Match": f'"9-9", "{secret.etag}"'})
    assert (weak.status_code, strong.status_code) == (412, 204)


def test_the_condition_tells_no_stranger_that_the_secret_exists(cast: Cast, bearer: Bearer) -> None:
    keep(cast, "a")
    elsewhere = bearer("editor", cast.development, prefix="app")
    paths = (BY_NAME, f"{BY_NAME[:-1]}b")
    for condition in ({"If_None_Match": "*"}, {"If_Match": "*"}, {"If_Match": '"1-1"'}):
        answers = [put(elsewhere, path, **condition) for path in paths]
        assert len({(answer.status_code, answer.json()["title"]) for answer in answers}) == 1
        assert answers[0].status_code in {403, 404}
