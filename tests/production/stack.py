"""The whole of production on this machine: MariaDB, Redis, KMS, two webs, worker, beat, nginx with TLS."""

import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import boto3

from sync_app.tests.rotation.processes.lines import Fault, Line
from tests.aws_strict.faults import Plan
from tests.aws_strict.server import serving
from tests.processes import commands_for_tokens, run_commands
from tests.production.compose import ROOT, Composition
from tests.servers.__main__ import installation
from tests.servers.certificates import write_certificates
from tests.servers.mariadb import MariaDb
from tests.servers.redis import Redis
from tests.servers.server import Server, accepts, free_port

REGION = "eu-central-1"
BIN = Path(sys.executable).parent
WAIT_SECONDS = 300


class GuardedRedis(Redis):
    """Redis behind a password, as in production."""

    def __init__(self, directory: Path, password: str) -> None:
        super().__init__(directory)
        self.password = password

    def command(self) -> list[str]:
        return [*super().command(), "--requirepass", self.password]

    def ready(self) -> bool:
        return accepts(self.port)


class Nginx(Server):
    """nginx with the configuration of deploy/, before the given ports."""

    name: ClassVar[str] = "nginx"
    program: ClassVar[str] = "nginx"
    package: ClassVar[str] = "the Debian package nginx"

    def __init__(self, directory: Path, upstreams: list[int]) -> None:
        super().__init__(directory)
        self.plain_port = free_port()
        self._upstreams = upstreams

    def prepare(self) -> None:
        write_certificates(self.directory)
        servers = "".join(f"server 127.0.0.1:{port} max_fails=0;" for port in self._upstreams)
        site = (ROOT / "deploy" / "nginx.conf.template").read_text()
        for old, new in {
            "${KEEPER_HOST}": "127.0.0.1",
            "server keeper:8989 max_fails=0;": servers,
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "/var/log/nginx/access.log": str(self.directory / "access.log"),
            "/etc/nginx/certificates/keeper.crt": str(self.directory / "server.pem"),
            "/etc/nginx/certificates/keeper.key": str(self.directory / "server.key"),
        }.items():
            assert old in site, old
            site = site.replace(old, new)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        (self.directory / "nginx.conf").write_text(
            f"{user} pid {self.directory}/pid; error_log stderr; worker_processes 1; daemon off;"
            f"events {{}} http {{ {places} {site} }}"
        )

    def command(self) -> list[str]:
        return [self.find(self.program), "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")]

    def ready(self) -> bool:
        return accepts(self.port)

    def environment(self) -> dict[str, str]:
        return {}


class Service:
    """One process of Keeper, started by its service's command."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self.log = command, environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> int:
        """Ask it to end, as an orchestrator does, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(WAIT_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it and everything that it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


class Production:
    """What docker-compose.prod.yml describes, with two replicas of `keeper`."""

    def __init__(self, directory: Path, moto_url: str, openbao: tuple[str, str]) -> None:
        self._directory, self._stack = directory, ExitStack()
        self._began = time.monotonic()
        self._kms_server, self._kms_port = ExitStack(), free_port()
        self._openbao_url, self.openbao_token = openbao
        self.vault = Line(urlsplit(self._openbao_url).port or 0)
        password = secrets.token_hex(24)
        self.database = MariaDb(directory)
        self.redis = GuardedRedis(directory, secrets.token_hex(24))
        self._moto_url = moto_url
        alias = f"alias/production-{secrets.token_hex(4)}"
        kms = boto3.client(
            "kms", region_name=REGION, endpoint_url=moto_url,
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        kms.create_alias(AliasName=alias, TargetKeyId=kms.create_key()["KeyMetadata"]["Arn"])
        kms.close()
        self._mysql_password = password
        self.composition = Composition(
            {
                "KEEPER_HOST": "127.0.0.1",
                "SECRET_KEY": secrets.token_urlsafe(48),
                "KEEPER_TOKEN_PEPPERS": f"2026:{secrets.token_urlsafe(48)}",
                "MYSQL_PASSWORD": password,
                "REDIS_PASSWORD": self.redis.password,
                "KMS_KEY_ALIAS": alias,
                "AWS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
            }
        )
        self.ports = [free_port(), free_port()]
        self.worker_metrics = free_port()
        self.nginx = Nginx(directory, self.ports)
        self.webs: list[Service] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self._stack.callback(self.vault.close)
        self._stack.callback(self._kms_server.close)
        self.reach_kms()
        for server in (self.database, self.redis):
            self._stack.callback(server.stop)
            server.start()
        for server in (self.database, self.redis):
            server.wait()
        # As the image of MariaDB does with MARIADB_USER.
        self.database._client(
            f"CREATE USER keeper IDENTIFIED BY '{self._mysql_password}'; GRANT ALL ON keeper.* TO keeper"
        ).check_returncode()
        self.keeper("init-db")
        self.webs = [self.service("keeper", "--port", str(port)) for port in self.ports]
        self.worker = self.service("worker")
        self.beat = self.service("beat")
        for process in (*self.webs, self.worker, self.beat):
            process.start()
        roles = ("reader", "editor", "manager")
        printed = run_commands(self.variables("keeper"), *commands_for_tokens(*roles))
        self.tokens = dict(zip(roles, printed, strict=True))
        self._stack.callback(self.nginx.stop)
        for port in self.ports:
            self.until(lambda port=port: _ready(port), f"web on {port}")  # type: ignore[misc]
        self.nginx.start()
        self.nginx.wait()

    def lose_kms(self) -> None:
        """Let nothing listen where KMS was."""
        self._kms_server.close()

    def reach_kms(self) -> None:
        """Let KMS be where it was, and what it knew."""
        self._kms_server.enter_context(serving(self._moto_url, port=self._kms_port, plan=Plan()))

    def lose_vault(self) -> None:
        """Let the way to Vault end, in the middle of whatever is under way."""
        self.vault.arm(Fault.CUT, at=1, deadly=True)

    def reach_vault(self) -> None:
        """Let the way to Vault be open again."""
        self.vault.arm(None)

    def in_vault(self, name: str) -> str:
        """Return what Vault itself holds under a name, as JSON; empty if it is not there."""
        request = urllib.request.Request(
            f"{self._openbao_url}/v1/secret/data/{name}", headers={"X-Vault-Token": self.openbao_token}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return str(json.dumps(json.load(reply)["data"]["data"]))
        except urllib.error.HTTPError:
            return ""

    def note(self, text: str) -> None:
        """Add a line to the story's log, which KEEPER_FAULT_LOG keeps."""
        line = f"{time.monotonic() - self._began:6.1f} s  {text}\n"
        with Path(os.environ.get("KEEPER_FAULT_LOG", self._directory / "story.txt")).open("a") as log:
            log.write(line)

    def variables(self, service: str) -> dict[str, str]:
        """Return a service's variables, with the addresses that names of containers stand for."""
        names = {
            "@database/": f"@127.0.0.1:{self.database.port}/",
            "@redis:6379": f"@127.0.0.1:{self.redis.port}",
            "/var/lib/keeper/kept": str(self._directory / "kept"),
            "172.30.89.2": "127.0.0.1",
            "172.30.89.0/24": "127.0.0.0/8",
            "0.0.0.0:9101": f"127.0.0.1:{self.worker_metrics}",
        }
        found = self.composition.environment(service)
        for old, new in names.items():
            found = {name: value.replace(old, new) for name, value in found.items()}
        data = self._directory / f"data-{service}-{secrets.token_hex(3)}"
        data.mkdir(mode=0o700)
        quiet = {name: value for name, value in installation(data).items() if name not in found}
        quiet.pop("KEEPER_TLS")
        return {
            **quiet,
            **found,
            "KEEPER_DATA_DIR": str(data),
            "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{self._kms_port}",
            # So short that a story notices a key service that is away.
            "KMS_DEK_CACHE_TTL": "3",
            # Longer than a busy machine stands still: only one that hangs on purpose is to be waited for in vain.
            "KMS_TIMEOUT_SECONDS": "20",
            "KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{BIN}:/usr/bin:/bin",
        }

    def service(self, name: str, *more: str) -> Service:
        """Return another process of a service, to be started."""
        number = len(list(self._directory.glob(f"{name}-*.log")))
        log = self._directory / f"{name}-{number}.log"
        log.touch()
        command = [*self.composition.command(name), *more]
        command[0] = str(BIN / command[0])
        made = Service(command, self.variables(name), log)
        self._stack.callback(made.kill)
        return made

    def keeper(self, *arguments: str) -> str:
        """Run `docker compose run keeper ARGUMENTS` to its end and return what it printed."""
        done = subprocess.run(
            [str(BIN / "keeper"), *arguments],
            env=self.variables("keeper"), cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"{what}:\n{self.last_lines()}"
            time.sleep(0.1)

    def last_lines(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in self._directory.glob("*.log"))

    def logs(self) -> str:
        """Return all that was logged."""
        return "".join(log.read_text() for log in self._directory.glob("*.log"))

    def ask(
        self, path: str, *, role: str = "reader", body: Any = None, method: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Ask through nginx, by TLS, and return status and body; 0 where there was no answer."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.nginx.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.tokens[role]}", "Content-Type": "application/json"},
            method=method or ("GET" if body is None else "POST"),
        )
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.tls) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _document(error.read())
        except (OSError, ValueError):
            return 0, {}

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.nginx.directory / "ca.pem"))


def _document(body: bytes) -> dict[str, Any]:
    """Return a refusal's body; nginx's own pages are no JSON."""
    try:
        found: dict[str, Any] = json.loads(body)
    except ValueError:
        return {}
    return found


def _ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
