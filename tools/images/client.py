"""What is demanded of `kpr run` as process 1 of a container, as itself and as a supervisor."""

import json
import secrets
import time
from typing import Final

from tools.images.bases import PYTHON
from tools.images.composition import Composition
from tools.images.engine import ROOT, Engine, Failed

_SIGNALS: Final = {"INT": 2, "HUP": 1, "TERM": 15, "USR1": 10, "WINCH": 28}
_READY_SECONDS: Final = 60
# It ends by the first signal, with a code that names it.
_WAITS: Final = """
import os, signal
def reached(number, frame): os._exit(40 + number)
for number in (1, 2, 10, 15, 28): signal.signal(number, reached)
print("ready", os.getpid(), os.environ["IMAGES_CLIENT"], flush=True)
while True: signal.pause()
"""
# Its grandchild loses its parent; what has ended and is not reaped can still be reached by its number.
_ORPHAN: Final = """
import os, time
taken, given = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(given, b"%d" % os.getpid()); time.sleep(0.2); os._exit(0)
    os._exit(0)
os.wait()
orphan, deadline = int(os.read(taken, 20)), time.monotonic() + 30
while time.monotonic() < deadline:
    try: os.kill(orphan, 0)
    except ProcessLookupError: raise SystemExit(0)
    time.sleep(0.05)
raise SystemExit("it was not reaped")
"""


class Client:
    """kpr in containers of their own that share the network of Keeper's."""

    def __init__(self, engine: Engine, running: Composition, token: str) -> None:
        self._engine = engine
        variables = {
            "KPR_SERVER": "http://localhost:8989",
            "KPR_ENVIRONMENT": "development",
            "KPR_TOKEN": token,
            "PYTHONPATH": "/client",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._options = (
            f"--network=container:{running.container('keeper')}",
            f"--volume={ROOT / 'client'}:/client:ro",
            "--read-only",
            *(f"--env={name}={value}" for name, value in variables.items()),
            "--entrypoint=" + json.dumps(["python", "-m", "kpr", "run", "--only", "images/client"]),
            PYTHON,
        )

    def code(self, *arguments: str) -> int:
        """Return the exit code of a container that runs to its end."""
        return self._engine.podman("run", "--rm", *self._options, *arguments, check=False).returncode

    def code_after(self, signal: str, *arguments: str, ready: str) -> tuple[int, float]:
        """Return the exit code of a container after a signal, and the seconds until its end. Raises Failed."""
        name = f"kpr-{secrets.token_hex(4)}"
        self._engine.podman("run", "--detach", f"--name={name}", *self._options, *arguments)
        try:
            deadline = time.monotonic() + _READY_SECONDS
            while ready not in (logs := self._engine.podman("logs", name).stdout):
                if time.monotonic() > deadline:
                    raise Failed(f"kpr {' '.join(arguments[:2])} does not start: {logs}")
                time.sleep(0.2)
            began = time.monotonic()
            self._engine.podman("kill", f"--signal={signal}", name)
            code = int(self._engine.podman("wait", name).stdout)
            return code, time.monotonic() - began
        finally:
            self._engine.podman("rm", "--force", "--time=1", name, check=False)


def client_faults(client: Client, value: str) -> list[str]:
    """Return what does not hold of kpr as process 1. `value` is that of the secret images/client."""
    found = []
    for options, pid, shown in (((), "1", value), (("--mask",), "", "[masked]")):
        kind = " ".join(("kpr run", *options))
        if client.code(*options, "--", "sh", "-c", "exit 42") != 42:
            found.append(f"{kind}: the exit code is lost")
        command = (*options, "--", "python", "-c", _WAITS)
        for name, number in _SIGNALS.items():
            code, took = client.code_after(name, *command, ready=shown if not pid else f"ready {pid} {shown}")
            if code != 40 + number or took > _READY_SECONDS:
                found.append(f"{kind}: after {name} it ends with {code} in {took:.1f} s")
    code, took = client.code_after("TERM", "--mask", "--", "sh", "-c", "echo up; exec sleep 300", ready="up")
    if code != 128 + _SIGNALS["TERM"]:
        found.append(f"kpr run --mask: a command that ended by TERM gives {code}")
    if client.code("--mask", "--", "python", "-c", _ORPHAN):
        found.append("kpr run --mask: orphans stay as zombies")
    return found
