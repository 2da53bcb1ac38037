"""An issuer that nobody here wrote, npm's oauth2-mock-server: sign-in, wrong claims, rotated keys, an outage."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from pytest_django import Settings

from environments_app.errors import JwtRefused, KeysUnavailable
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.trusts import key_source
from environments_app.trusts.key_source import forget_keys
from environments_app.trusts.sign_in import sign_in
from tests.servers.packages.node_packages import node_modules

pytestmark = pytest.mark.django_db
WAIT_SECONDS: Final = 60
Ask = Callable[..., Any]
# Takes one command a line: claims to sign, the id of a new key, or "stop".
PROGRAM: Final = """
import { createInterface } from "node:readline";
import { OAuth2Server } from "oauth2-mock-server";
const server = new OAuth2Server();
let { kid } = await server.issuer.keys.generate("RS256", { kid: "one" });
await server.start(0, "127.0.0.1");
const url = `http://127.0.0.1:${server.address().port}`;
server.issuer.url = url;
console.log(JSON.stringify(url));
for await (const line of createInterface({ input: process.stdin })) {
  const { claims, rotate, stop } = JSON.parse(line);
  if (rotate) ({ kid } = await server.issuer.keys.generate("RS256", { kid: rotate }));
  if (stop) await server.stop();
  server.issuer.url = url;
  const scopesOrTransform = (_header, payload) => Object.assign(payload, claims);
  console.log(JSON.stringify(await server.issuer.buildToken({ kid, scopesOrTransform })));
}
"""


@pytest.fixture
def issuer(settings: Settings, socket_enabled: None) -> Iterator[tuple[str, Ask]]:
    """The address of a running issuer, and what it answers to a command: a token."""
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    forget_keys()
    command = ["node", "--input-type=module", "-e", PROGRAM]
    with subprocess.Popen(
        command, cwd=node_modules().parent, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        answers = running.stdout

        def ask(**command: Any) -> Any:
            if command:
                running.stdin.write(json.dumps(command) + "\n")  # type: ignore[union-attr]  # it is a pipe
                running.stdin.flush()  # type: ignore[union-attr]
            return json.loads(answers.readline())

        yield ask(), ask
        running.kill()
        running.wait(WAIT_SECONDS)


def enter(jwt: str) -> str:
    """Sign in; return the reason of a refusal, "" for none."""
    try:
        sign_in(trust_name="ci", jwt=jwt, address="192.0.2.7")
    except JwtRefused as error:
        return error.reason
    return ""


def test_an_issuer_of_another_make_signs_workloads_in(
    cast: Cast, issuer: tuple[str, Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, ask = issuer
    claims = {"sub": "a-service", "aud": "https://keeper.test"}
    make_trust(cast, Issuer(url), jwks="")
    assert enter(ask(claims=claims)) == ""
    wrong: dict[str, dict[str, Any]] = {
        "jwt-claim": {"sub": "another"},
        "jwt-audience": {"aud": ["https://keeper.test", "https://other.test"]},
        "jwt-expired": {"exp": 1},
        "jwt-unknown-key": {"iss": "https://elsewhere.test"},
    }
    assert {reason: enter(ask(claims=claims | changes)) for reason, changes in wrong.items()} == {
        reason: reason for reason in wrong
    }
    # A key is not looked for again until the cool-down is over.
    assert enter(ask(rotate="two", claims=claims)) == "jwt-unknown-key"
    monkeypatch.setattr(key_source, "COOL_DOWN_SECONDS", 0)
    assert enter(ask(claims=claims)) == ""
    # What is known of an issuer outlives its outage.
    monkeypatch.setattr(key_source, "FRESH_SECONDS", 0)
    last = ask(stop=True, claims=claims)
    assert enter(last) == ""
    forget_keys()
    with pytest.raises(KeysUnavailable):
        enter(last)
