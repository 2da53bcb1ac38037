"""What a session is not enough for once its person's proof has lapsed, of all acts of the tables of rights."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from pytest_django import Settings

from environments_app.forms.authentication import ProofForm
from secrets_app.tests.kept import send
from tests.access.access_scene import DAY_SECONDS, Scene, browser_of, shared_scene, shown, stage, undone
from tests.access.test_access_matrix import TABLE
from tests.access.test_page_matrix import PAGES, page_path

__all__ = ["shared_scene", "stage"]


# What a session does not do once its person's proof has lapsed: it would open many values at once, or
# lead to a session or a token that counts as proven. All other acts are done without asking.
ASKS: Final = {
    # Many values at once, and what is known of somebody who left.
    ("api-export", "GET"), ("secret-export", "POST"), ("secret-bulk", "POST"),
    ("api-offboarding", "POST"), ("offboard", "POST"), ("api-user-hand-over", "POST"),
    ("api-departure-continue", "POST"), ("departure-continue", "POST"),
    # All that an environment holds.
    ("api-environment", "DELETE"), ("environment-delete", "POST"),
    # Another account, whose own session is fresh, is let in to values.
    ("api-members", "POST"), ("api-member", "PATCH"), ("member-grant", "POST"), ("member-change", "POST"),
    ("api-access-request-grant", "POST"), ("access-request-grant", "POST"),
    ("api-suspended-account", "POST"), ("access-confirm", "POST"),
    ("api-suspended-mapping", "POST"), ("mapping-confirm", "POST"), ("restore-release", "POST"),
    # Tokens count as proven.
    ("api-trusts", "POST"), ("trust-new", "POST"), ("personal-token-issue", "POST"),
    ("api-tokens", "POST"), ("token-issue", "POST"), ("api-token-rotate", "POST"), ("token-rotate", "POST"),
    ("api-admin-tokens", "POST"), ("admin-token-issue", "POST"),
    ("api-admin-token-rotate", "POST"), ("admin-token-rotate", "POST"),
    # The second factor, without the password.
    ("second-factor-start", "POST"), ("second-factor-enrol", "POST"),
    ("second-factor-codes", "POST"), ("second-factor-remove", "POST"),
    ("passkey-start", "POST"), ("passkey-register", "POST"), ("passkey-remove", "POST"),
    ("sign-in-disconnect", "POST"),
    ("person-add", "POST"), ("person-update", "POST"), ("person-reset-mfa", "POST"),
    ("person-disable", "POST"), ("person-enable", "POST"), ("person-invite", "POST"),
}  # fmt: skip
# Bodies that let in to values, where those of the tables above do not.
_LETS_IN: Final[dict[tuple[str, str], Any]] = {
    ("api-members", "POST"): {"user": "newcomer", "role": "reader"},
    ("member-grant", "POST"): {"username": "newcomer", "role": "reader"},
    ("api-access-request-grant", "POST"): {"role": "reader"},
    ("access-request-grant", "POST"): {"role": "reader"},
    ("access-confirm", "POST"): {"user": "bob", "since": "2026-01-01T00:00:00Z"},
    ("secret-export", "POST"): {"environment": "{name}", "format": "dotenv"},
    ("secret-bulk", "POST"): {"act": "export", "step": "apply", "pick": "{pick}", "format": "dotenv"},
}
_ACTS: Final = sorted(
    {key for key in TABLE if key[1] != "GET"}
    | {(name, rule.method) for name, rules in PAGES.items() for rule in rules if rule.method == "POST"}
    | ASKS
)


def asks(response: Any) -> bool:
    """Say whether an answer asks the person to prove who they are."""
    if response.status_code == 302:
        return str(response["Location"]).startswith("/confirm")
    if (
        response.status_code in {200, 422}
        and f'name="{ProofForm.prefix}-password"' in response.content.decode()
    ):
        return True
    return response.status_code in {403, 422} and "Confirm your password" in shown(response)


def asked_as(caller: str, place: Scene, name: str, method: str) -> bool:
    """Do an act and undo it; say whether it asked for a proof."""
    with undone():
        return asks(do_as(caller, place, name, method))


def do_as(caller: str, place: Scene, name: str, method: str) -> Any:
    """Do an act of the tables by a browser of a manager or an administrator."""
    client = browser_of(caller, place)
    if name.startswith("api-"):
        body = _LETS_IN.get((name, method), TABLE[name, method].body)
        return send(client, method, place.path(name), place.body(body))
    rules = [rule for rule in PAGES[name] if rule.method == method]
    form = _LETS_IN.get((name, method), rules[0].form if rules else {}) or {}
    filled = {
        key: place.environment.pk if value == "{environment}" else place.body(value)
        for key, value in form.items()
    }
    return client.post(page_path(place, name), filled)


@pytest.mark.parametrize(("name", "method"), _ACTS, ids=lambda value: value)
def test_a_stale_session_is_asked_to_confirm_before_what_the_table_says(
    stage: Callable[[str], Scene], settings: Settings, name: str, method: str
) -> None:
    place = stage(name)
    settings.KEEPER_REAUTH_SECONDS = -1
    stale = [asked_as(caller, place, name, method) for caller in ("manager", "admin")]
    assert any(stale) == ((name, method) in ASKS)
    if any(stale):
        settings.KEEPER_REAUTH_SECONDS = DAY_SECONDS
        assert not any(asked_as(caller, place, name, method) for caller in ("manager", "admin"))
