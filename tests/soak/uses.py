"""What people and programs do with Keeper, each in a thread of its own, and what they were told meanwhile."""

import json
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.soak.keeper import ANSWER_SECONDS, Keeper, NotAnswered

NAMES = tuple(f"soak/{number:02}" for number in range(40))
ROTATED = "soak/rotated"
POLL_SECONDS = 0.5
REST_SECONDS = 60.0
_ENDED = {"done", "failed", "cancelled", "abandoned", "rolled_back"}


class Stopping(Exception):
    """The soak is over while something was waited for."""


@dataclass
class Written:
    """The values of one name, which one thread writes: value N holds the number N."""

    begun: int = 0
    acknowledged: int = 0
    # A write whose answer did not come in time may yet be stored: until then nothing is written after it.
    rests_until: float = 0.0


@dataclass
class Uses:
    """Reads, writes, plans, applies, rotates and signs in until it is stopped.

    `faults` holds what should never be: an answer that is wrong. `unanswered` counts requests without an
    answer by use, `done` those that succeeded.
    """

    keeper: Keeper
    openbao: str
    openbao_token: str
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    written: dict[str, Written] = field(default_factory=lambda: defaultdict(Written))
    rotated_to: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.longest_gap = 0.0
        self._last_read = time.monotonic()

    def prepare(self) -> None:
        """Make the target, the secrets, and the one that is rotated, before anything is killed."""
        for name in NAMES:
            self._write(name)
        environment = "/api/environments/development"
        self._expect(201, "editor", "POST", "/api/secrets", _secret(ROTATED, "first"))
        self._target = self._expect(
            201, "manager", "POST", f"{environment}/targets",
            {
                "name": "openbao",
                "backend": "vault_kv2",
                "destination": {"address": self.openbao, "prefix": "soaked"},
                "credentials": {"token": self.openbao_token},
                "scope": "soak",
            },
        )["id"]  # fmt: skip
        self._policy = self._expect(
            201, "manager", "POST", f"{environment}/rotation-policies",
            {"secret": ROTATED, "rotator": "generated", "settings": {"kind": "password"}, "grace_seconds": 0},
        )["id"]  # fmt: skip

    def start(self, pace: float) -> None:
        """Begin every use; a pace of 1 is about eight requests a second, of 2 half as many."""
        self._last_read = time.monotonic()
        for number, (act, pause) in enumerate(
            [
                (self.read, 0.2),
                (self.write, 0.8),
                (self.list_some, 3.0),
                (self.sync, 5.0),
                (self.rotate, 5.0),
                (self.sign_in, 8.0),
            ]
        ):
            draw = random.Random(self.seed * 100 + number)
            thread = threading.Thread(target=self._go_on, args=(act, pause * pace, draw), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let every use end what it is at."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self, act: Callable[[random.Random], None], pause: float, draw: random.Random) -> None:
        kind = act.__name__
        while not self._stop.wait(pause):
            try:
                act(draw)
            except NotAnswered:
                self.unanswered[kind] += 1
            except Stopping:
                return
            except (AssertionError, KeyError, TypeError, ValueError) as error:
                self.faults.append(f"{kind}: {error!r}")
            else:
                self.done[kind] += 1

    # --- The uses ---------------------------------------------------------------------------------

    def read(self, draw: random.Random) -> None:
        name = draw.choice(NAMES)
        known = self.written[name].acknowledged
        number = self.number_of(name)
        self.note_gap()
        assert known <= number <= self.written[name].begun, f"{name} is {number}, {known} was acknowledged"

    def note_gap(self) -> None:
        """Note for how long no read was answered before now."""
        now = time.monotonic()
        self.longest_gap, self._last_read = max(self.longest_gap, now - self._last_read), now

    def write(self, draw: random.Random) -> None:
        now = time.monotonic()
        self._write(draw.choice([name for name in NAMES if self.written[name].rests_until < now]))

    def list_some(self, draw: random.Random) -> None:
        path = draw.choice(
            ["/api/secrets?environment=development", "/api/environments/development/export?format=json"]
        )
        self._expect(200, "reader", "GET", path)

    def sync(self, _draw: random.Random) -> None:
        self._sync()

    def _sync(self) -> bool:
        """Plan, wait for the plan, apply it, and wait for that; say whether it came to that."""
        planned = self._run_to_end("plan", f"targets/{self._target}/plan")
        return bool(planned and self._run_to_end("apply", f"plans/{planned['plan']}/apply"))

    def apply_all(self, seconds: float) -> None:
        """Deliver what is not delivered yet, once all other uses have ended."""
        self._stop.clear()
        deadline = time.monotonic() + seconds
        while not self._sync():
            assert time.monotonic() < deadline, "no pass came to its end"
            time.sleep(1)

    def rotate(self, _draw: random.Random) -> None:
        """Ask for a rotation and wait for its end."""
        policy = f"/api/environments/development/rotation-policies/{self._policy}"
        asked = self._expect(202, "manager", "POST", f"{policy}/rotate", {"reason": "soak"})
        path = f"/api/environments/development/rotations/{asked['id']}"
        ended = self._until(lambda: self._ended(self._expect(200, "manager", "GET", path), "step"))
        assert ended["step"] == "done", ended
        self.rotated_to = max(self.rotated_to, ended["to_number"])

    def sign_in(self, _draw: random.Random) -> None:
        """Sign in as a person does, look at a page, and sign out."""
        with requests.Session() as session:
            try:
                form = session.get(self.keeper.url("/sign-in"), timeout=ANSWER_SECONDS)
                sent = {"username": "admin", "password": self.keeper.password, **_token_of(form)}
                session.post(self.keeper.url("/sign-in"), data=sent, timeout=ANSWER_SECONDS)
                page = session.get(self.keeper.url("/secrets"), timeout=ANSWER_SECONDS)
                out = session.post(self.keeper.url("/sign-out"), data=_token_of(page), timeout=ANSWER_SECONDS)
            except requests.RequestException as error:
                raise NotAnswered(type(error).__name__) from error
        for answer in (form, page, out):
            if answer.status_code >= 500:
                raise NotAnswered(str(answer.status_code))
        assert (page.status_code, page.url) == (200, self.keeper.url("/secrets")), (
            page.status_code,
            page.url,
        )

    # --- What they are made of ----------------------------------------------------------------------

    def number_of(self, name: str) -> int:
        """Return the number of the value that a name holds."""
        return int(self.value_of(name).rpartition("-")[2])

    def value_of(self, name: str) -> str:
        """Return the value that a name holds."""
        path = f"/api/environments/development/secrets/{name}"
        return str(self._expect(200, "reader", "GET", path)["value"])

    def version_of_rotated(self) -> int:
        """Return the number of the version of the secret that is rotated."""
        path = f"/api/environments/development/secrets/{ROTATED}"
        return int(self._expect(200, "reader", "GET", path)["version"])

    def at_target(self, name: str) -> str:
        """Return what OpenBao itself holds under a name."""
        answer = requests.get(
            f"{self.openbao}/v1/secret/data/soaked/{name}",
            headers={"X-Vault-Token": self.openbao_token}, timeout=60,
        )  # fmt: skip
        return str(answer.json()["data"]["data"]["value"])

    def _write(self, name: str) -> None:
        written = self.written[name]
        written.begun += 1
        number = written.begun
        path = f"/api/environments/development/secrets/{name}"
        body = {"value": f"{name}-{number}", "secret_type": "TEXT"}
        try:
            status, document = self.keeper.ask("editor", "PUT", path, body)
        except NotAnswered:
            written.rests_until = time.monotonic() + REST_SECONDS
            raise
        assert status in {200, 201}, f"{status}: {document}"
        written.acknowledged = number

    def _run_to_end(self, kind: str, path: str) -> dict[str, Any] | None:
        environment = "/api/environments/development"
        status, run = self.keeper.ask("manager", "POST", f"{environment}/{path}")
        if status == 409:
            # An earlier one, whose answer was lost, is at work.
            return None
        assert status == 202, f"{status}: {run}"
        ended = self._until(lambda: self._ended(self._run(run["id"]), "state"))
        assert ended["state"] == "done", ended
        assert not ended["failed"], ended
        self.done[kind] += 1
        return ended

    def _run(self, id: object) -> dict[str, Any]:
        path = f"/api/environments/development/targets/{self._target}/runs?limit=10"
        runs = self._expect(200, "manager", "GET", path)["results"]
        return next(run for run in runs if run["id"] == id)

    def _ended(self, document: dict[str, Any], name: str) -> dict[str, Any] | None:
        return document if document[name] in _ENDED else None

    def _until(self, ended: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
        """Ask until something has ended; a lost answer is asked for again."""
        while True:
            try:
                if document := ended():
                    return document
            except NotAnswered:
                self.unanswered["poll"] += 1
            if self._stop.wait(POLL_SECONDS):
                raise Stopping

    def _expect(self, wanted: int, role: str, method: str, path: str, body: object = None) -> dict[str, Any]:
        status, document = self.keeper.ask(role, method, path, body)
        # Never the document of a success: it may hold a value.
        assert status == wanted, f"{method} {path}: {status} {json.dumps(document) if status >= 400 else ''}"
        return document


def _secret(name: str, value: str) -> dict[str, object]:
    return {"environment_id": 1, "name": name, "secret_type": "TEXT", "value": value}


def _token_of(page: requests.Response) -> dict[str, str]:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    if page.status_code >= 500:
        raise NotAnswered(str(page.status_code))
    assert found, f"{page.url}: {page.status_code}, without a form"
    return {"csrfmiddlewaretoken": found[1]}
