"""What is demanded of the image and of both compositions, each demand a line of the log."""

import json
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.servers.certificates import write_certificates
from tests.servers.server import accepts_at, free_port
from tools.images.bases import PYTHON
from tools.images.client import Client, client_faults
from tools.images.composition import Composition
from tools.images.engine import Engine, Failed

MOST_BYTES: Final = 200_000_000
SEEDED: Final = 50
_USER: Final = "10001"
_REGION: Final = "eu-central-1"
_BEGAN: Final = time.monotonic()
_HOST: Final = "127.0.0.1"
_DOCUMENTS: Final = "/usr/share/doc/keeper"


def note(text: str) -> None:
    """Add a line to the log."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", flush=True)  # noqa: T201 - the log is what it is for


def demand(holds: object, what: str) -> None:
    """Log what holds. Raises Failed if it does not."""
    if not holds:
        raise Failed(f"not held: {what}")
    note(f"held: {what}")


def judge_image(engine: Engine, image: str) -> None:
    """Judge the image alone: its size, its user, what it holds. Raises Failed."""
    whole, base = engine.size(image), engine.size(PYTHON)
    note(
        f"the image has {whole / 1e6:.0f} MB, {(whole - base) / 1e6:.0f} MB over its base of {base / 1e6:.0f} MB"
    )
    demand(whole - base <= MOST_BYTES, f"at most {MOST_BYTES / 1e6:.0f} MB over the base")
    user = engine.podman("image", "inspect", "--format={{.Config.User}}", image).stdout.strip()
    demand(user == _USER, f"its user is the number {_USER}")
    document = _inside(engine, image, "cat", f"{_DOCUMENTS}/sbom.cdx.json")
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    demand(fault is None, "its bill of materials fits the schema of CycloneDX 1.6")
    names = {component["purl"].partition("@")[0] for component in json.loads(document)["components"]}
    wanted = {
        "pkg:pypi/django",
        "pkg:pypi/mysqlclient",
        "pkg:deb/debian/xmlsec1",
        "pkg:deb/debian/libmariadb3",
    }
    demand(wanted <= names, f"which names {len(names)} packages, of Python and of Debian")
    demand(
        "GPL" in _inside(engine, image, "cat", f"{_DOCUMENTS}/LICENCES.txt"),
        "a list of licences lies beside it",
    )
    for program in ("pip", "gcc"):
        demand(
            not _inside(engine, image, "sh", "-c", f"command -v {program} || true"), f"{program} is not in it"
        )
    services = "import boto3; [boto3.client(n, region_name='a') for n in ('kms','s3','secretsmanager','ssm','sts','iam')]"
    _inside(engine, image, "/opt/keeper/venv/bin/python", "-c", services)
    modules = "import nacl.public, MySQLdb, psycopg, granian, cbor2"
    _inside(engine, image, "/opt/keeper/venv/bin/python", "-c", modules)
    demand(True, "what was taken out of packages is not missed by those that Keeper loads")


def _inside(engine: Engine, image: str, *command: str) -> str:
    first, *rest = command
    options = ("--rm", "--network=none", "--read-only", f"--entrypoint={first}")
    return engine.podman("run", *options, image, *rest).stdout


def judge_upgrade(engine: Engine, previous: str, image: str) -> None:
    """Run docker-compose.yml of the previous image, store values, update it, and read them. Raises Failed."""
    with Composition(engine, "docker-compose.yml", previous, {}) as running:
        for service in ("database", "redis", "keeper"):
            running.up(service)
        note("docker-compose.yml runs with the previous image")
        token = _token(running)
        values = {f"upgrade/{number}": secrets.token_urlsafe(24) for number in range(SEEDED)}
        _direct(running, token).store(values)
        took, code = running.stop("keeper")
        running.remove("keeper")
        note(f"the previous image ended {took:.1f} s after SIGTERM with {code}")
        running.image = image
        began = time.monotonic()
        running.up("keeper")
        note(f"the new image was healthy {time.monotonic() - began:.1f} s after its start")
        _until_ready(running, "keeper")
        demand(
            _direct(running, token).read(values) == values,
            f"an update reads all {SEEDED} values of the previous image",
        )
        judge_client(engine, running, token)
        _, said = running.execute("keeper", "keeper", "verify-audit")
        demand(said, "the audit log of both verifies")
        _judge_containers(running, ("keeper",))
        for service in ("redis", "database", "keeper"):
            took, code = running.stop(service)
            running.start(service)
            _until_ready(running, "keeper")
            note(f"{service} was restarted: ended in {took:.1f} s with {code}")
        read = _direct(running, token).read(values)
        demand(read == values, "values are read after a restart of each container")
        took, code = running.stop("keeper")
        demand(code == 0 and took < running.grace("keeper"), f"SIGTERM ends it in {took:.1f} s with 0")


def judge_client(engine: Engine, running: Composition, token: str) -> None:
    """Run kpr as process 1 of containers beside a Keeper. Raises Failed."""
    value = secrets.token_urlsafe(24)
    _direct(running, token).store({"images/client": value})
    faults = client_faults(Client(engine, running, token), value)
    demand(not faults, f"kpr as process 1 keeps exit codes, signals and no zombies {faults or ''}".strip())


def judge_production(engine: Engine, image: str) -> None:
    """Run docker-compose.prod.yml with KMS beside it, restart each container, and end all. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="certificates-") as folder:
        write_certificates(Path(folder))
        (Path(folder) / "keeper.crt").write_bytes((Path(folder) / "server.pem").read_bytes())
        (Path(folder) / "keeper.key").write_bytes((Path(folder) / "server.key").read_bytes())
        alias = f"alias/keeper-{secrets.token_hex(4)}"
        port = free_port()
        variables = _production(folder, alias)
        with Composition(engine, "docker-compose.prod.yml", image, variables) as running:
            more = {
                "AWS_ENDPOINT_URL_KMS": f"http://{running.gateway}:{port}",
                "KEEPER_OUTBOUND_ALLOWED": "172.30.89.0/24",
            }
            running.pass_on(more)
            for service in ("database", "redis"):
                running.up(service)
            with _kms(running.gateway, port, alias):
                _judge_production(running, Path(folder) / "ca.pem")


def _production(folder: str, alias: str) -> dict[str, str]:
    return {
        "KEEPER_HOST": _HOST,
        "KEEPER_CERTIFICATES": folder,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "KEEPER_TOKEN_PEPPERS": f"2026:{secrets.token_urlsafe(48)}",
        "MYSQL_PASSWORD": secrets.token_hex(24),
        "REDIS_PASSWORD": secrets.token_hex(24),
        "KMS_KEY_ALIAS": alias,
        "AWS_REGION": _REGION,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }


def _judge_production(running: Composition, authority: Path) -> None:
    demand(
        "Password, shown once" in running.once("initialise"),
        "initialise migrates and prints the first password",
    )
    for service in ("keeper", "worker", "beat", "proxy"):
        running.up(service)
    address = running.address("proxy")
    options = ("--cacert", str(authority), "--connect-to", f"{_HOST}:443:{address}:443")

    def status() -> str:
        done = subprocess.run(
            ["curl", "-sS", "--fail", *options, f"https://{_HOST}/readyz"],
            capture_output=True,
            text=True,
            check=False,
        )
        return str(json.loads(done.stdout)["status"]) if done.returncode == 0 else ""

    running.until(lambda: status() == "ok", "nginx with TLS in front does not reach a well Keeper")
    demand(True, "docker-compose.prod.yml serves by TLS, and all its parts are well")
    _judge_containers(running, ("keeper", "worker", "beat"))
    api = Api(running, f"https://{_HOST}", options, _token(running))
    values = {f"production/{number}": secrets.token_urlsafe(24) for number in range(SEEDED)}
    api.store(values)
    for service in ("proxy", "beat", "worker", "redis", "keeper", "database"):
        took, code = running.stop(service)
        demand(
            took < running.grace(service),
            f"SIGTERM ends {service} in {took:.1f} s of {running.grace(service)} s, with {code}",
        )
        running.start(service)
        # nginx resolves names at its start.
        if service == "keeper" and running.address("keeper"):
            running.execute("proxy", "nginx", "-s", "reload")
        running.until(lambda: status() == "ok", f"Keeper is not well after a restart of {service}")
    demand(
        api.read(values) == values,
        f"all {SEEDED} values are read after a restart of each container",
    )


def _judge_containers(running: Composition, services: tuple[str, ...]) -> None:
    for service in services:
        user = running.execute(service, "id", "-u")[1]
        demand(user == _USER, f"{service} runs as {_USER}")
        code, _ = running.execute(service, "sh", "-c", "echo x 2>/dev/null >/opt/keeper/app/x", check=False)
        code_root, _ = running.execute(service, "sh", "-c", "echo x 2>/dev/null >/var/lib/x", check=False)
        demand(code and code_root, f"{service} cannot write beside its volumes")
        demand(
            running.inspect(service, "{{.HostConfig.ReadonlyRootfs}}") == "true",
            f"{service} has a read-only root",
        )


def _until_ready(running: Composition, service: str) -> None:
    ask = "import urllib.request as u; u.urlopen('http://localhost:8989/readyz', timeout=5)"
    running.until(
        lambda: running.execute(service, "python", "-c", ask, check=False)[0] == 0, f"{service} is not ready"
    )


def _token(running: Composition) -> str:
    command = "keeper issue-token --environment development --role editor --name images"
    return running.execute("keeper", *shlex.split(command))[1]


def _direct(running: Composition, token: str) -> "Api":
    """Return the way to Keeper's own port, by the address that its container has now."""
    # The name is one of ALLOWED_HOSTS.
    return Api(running, f"http://{running.address('keeper')}:8989", ("-H", "Host: localhost"), token)


@dataclass(frozen=True)
class Api:
    """Keeper's API by curl: how it is reached, and a token."""

    running: Composition
    address: str
    options: tuple[str, ...]
    token: str

    def store(self, values: Mapping[str, str]) -> None:
        """Create secrets of `development`."""
        for name, value in values.items():
            body = {"environment_id": 1, "name": name, "secret_type": "TEXT", "value": value}
            self._ask("POST", "/api/secrets", json.dumps(body))

    def read(self, names: Iterable[str]) -> dict[str, str]:
        """Return the values of secrets of `development`."""
        path = "/api/environments/development/secrets/"
        return {name: self._ask("GET", path + name)["value"] for name in names}

    def _ask(self, method: str, path: str, body: str = "") -> Any:
        headers = f"Authorization: Bearer {self.token}\nContent-Type: application/json\n"
        sent = ("--data", body) if body else ()
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "--max-time", "60", "-X", method, "-H", "@-", *sent,
             *self.options, f"{self.address}{path}"],
            input=headers, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"{method} {path}: {done.stdout}{done.stderr}{self.running.logs()}")
        return json.loads(done.stdout)


@contextmanager
def _kms(address: str, port: int, alias: str) -> Iterator[None]:
    """Serve AWS's KMS on an address of the containers' network, with a key of that alias."""
    command = [sys.executable, "-P", "-m", "moto.server", "--host", address, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not accepts_at(address, port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed("moto does not start")
            time.sleep(0.1)
        kms = boto3.client(
            "kms", region_name=_REGION, endpoint_url=f"http://{address}:{port}",
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        kms.create_alias(AliasName=alias, TargetKeyId=kms.create_key()["KeyMetadata"]["Arn"])
        kms.close()
        yield
    finally:
        process.terminate()
        process.wait()
