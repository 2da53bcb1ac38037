"""The `bao` CLI and its agent sign in with a JWT, unmodified."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from environments_app.models import Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.trusts import service
from gateway_app.tests.kv2.test_clients import WAIT_SECONDS, program, rendered, until
from secrets_app.tests.kept import change, keep

pytestmark = pytest.mark.django_db(transaction=True)
ISSUER = Issuer()
SUBJECT = "system:serviceaccount:shop:default"


def bao(address: str, place: Path, *words: str, token: str = "") -> subprocess.CompletedProcess[str]:
    variables = {"BAO_ADDR": address, "HOME": str(place), "BAO_MAX_RETRIES": "0", "BAO_TOKEN": token}
    return subprocess.run(
        [program(), *words],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["jwt", "kubernetes"])
def test_the_cli_signs_in_and_reads(cast: Cast, live_server: LiveServer, tmp_path: Path, method: str) -> None:
    make_trust(cast, ISSUER, environment=cast.development)
    keep(cast, "app/db", value="s3cret")
    address = f"{live_server.url}/vault"
    done = bao(
        address, tmp_path, "write", "-format=json", f"auth/{method}/login", "role=ci", f"jwt={ISSUER.sign()}"
    )
    assert done.returncode == 0, done.stderr
    own = json.loads(done.stdout)["auth"]["client_token"]
    read = bao(address, tmp_path, "kv", "get", "-field=value", "secret/app/db", token=own)
    assert read.stdout == "s3cret"
    assert bao(address, tmp_path, "token", "revoke", "-self", token=own).returncode == 0
    assert bao(address, tmp_path, "token", "lookup", token=own).returncode != 0


def test_the_cli_is_refused_without_a_reason(cast: Cast, live_server: LiveServer, tmp_path: Path) -> None:
    make_trust(cast, ISSUER, environment=cast.development)
    jwt = ISSUER.sign(sub="mallory")
    done = bao(f"{live_server.url}/vault", tmp_path, "write", "auth/jwt/login", "role=ci", f"jwt={jwt}")
    assert done.returncode != 0
    assert "permission denied" in done.stderr
    assert "sub" not in done.stderr.replace("subject", "")


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("jwt", 'path = "{}/jwt", role = "ci", remove_jwt_after_reading = false'),
        ("kubernetes", 'token_path = "{}/jwt", role = "ci"'),
    ],
)
def test_the_agent_signs_in_with_a_jwt_and_renders_a_template(
    cast: Cast, live_server: LiveServer, tmp_path: Path, method: str, options: str
) -> None:
    make_trust(cast, ISSUER, environment=cast.development, preset="kubernetes", claims={"sub": SUBJECT})
    kept = keep(cast, "app/db", value="first")
    (tmp_path / "jwt").write_text(ISSUER.sign(sub=SUBJECT))
    (tmp_path / "agent.hcl").write_text(f"""
        auto_auth {{ method "{method}" {{ config = {{ {options.format(tmp_path)} }} }} }}
        template_config {{ static_secret_render_interval = "1s" }}
        template {{
            contents    = "{{{{ with secret \\"secret/data/app/db\\" }}}}{{{{ .Data.data.value }}}}{{{{ end }}}}"
            destination = "{tmp_path}/rendered"
        }}
    """)
    with (tmp_path / "log").open("w") as log:
        agent = subprocess.Popen(
            [program(), "agent", f"-config={tmp_path / 'agent.hcl'}"],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BAO_ADDR": f"{live_server.url}/vault"},
        )
        try:
            until(lambda: rendered(tmp_path) == "first", tmp_path)
            change(cast, kept, value="second")
            until(lambda: rendered(tmp_path) == "second", tmp_path)
            # What it signed in by is turned off: it gets nothing more.
            trust = Trust.objects.select_related("environment").get()
            service.change(actor=cast.principal(cast.alice), trust=trust, enabled=False)
            until(lambda: "permission denied" in (tmp_path / "log").read_text(), tmp_path)
        finally:
            agent.terminate()
            agent.wait(WAIT_SECONDS)
