"""Systems whose credentials rotate, each with Keeper's rotator and an application's own client beside it."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from sync_app.rotators.base import Fence, Rotator

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "rotation.md"


def documented_grants(engine: str) -> list[str]:
    """Return the GRANT statements that docs/rotation.md tells an administrator to give."""
    (block,) = blocks(engine, "sql")
    return [line.rstrip(";") for line in block.splitlines() if line.startswith("GRANT")]


def blocks(section: str, language: str) -> list[str]:
    text = DOCUMENT.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def fence(still_ours: Callable[[], bool] = lambda: True, *, seconds: int = 20) -> Fence:
    return Fence(run=uuid4(), epoch=1, seconds=seconds, is_held=still_ours)


class World(ABC):
    """One policy's credentials in a system; `current` is what the secret holds at first."""

    kind: ClassVar[type[Rotator]]
    # The fixture that makes one.
    fixture: ClassVar[str]
    current: str

    @abstractmethod
    def settings(self) -> dict[str, str]: ...

    @abstractmethod
    def admin(self) -> dict[str, str]: ...

    def rotator(self, **changes: str) -> Rotator:
        """Return Keeper's side, with some fields of settings or admin changed."""
        names = {field.name for field in self.kind.admin_fields}
        settings = self.settings() | {key: text for key, text in changes.items() if key not in names}
        admin = self.admin() | {key: text for key, text in changes.items() if key in names}
        return self.kind(settings=settings, admin=admin)

    @abstractmethod
    def works(self, value: str) -> bool:
        """Use a value as an application does."""

    @abstractmethod
    def spoiled(self, value: str) -> str:
        """Return the value with another secret."""


class DatabaseWorld(World):
    """A database server with users A and B and an administrator that has the documented rights."""

    engine: str
    host = "127.0.0.1"
    port: int
    ca: Path

    def __init__(self) -> None:
        self.mark = uuid4().hex[:8]
        self.users = [self.username(letter) for letter in "ab"]
        self.administrator, self.password = f"keeper_{self.mark}", f"p'a\"s\\s%s;$ö{self.mark}"
        self.current = json.dumps(
            {
                "engine": self.engine,
                "host": self.host,
                "port": self.port,
                "username": self.users[0],
                "password": f"first-{self.mark}",
                "dbname": f"app_{self.mark}",
                "masterarn": "arn:aws:kept",
            }
        )
        self.build()

    @abstractmethod
    def username(self, letter: str) -> str: ...

    @abstractmethod
    def build(self) -> None: ...

    @abstractmethod
    def execute(self, statement: Any, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the server's own superuser."""

    @abstractmethod
    def set_password(self, user: str, password: str) -> None:
        """Change a password as somebody would who goes round Keeper."""

    @abstractmethod
    def grant_to_a_alone(self) -> None:
        """Let A do something that B may not."""

    @abstractmethod
    def grant_to_b_too(self) -> None:
        """Let B do what A may."""

    @abstractmethod
    def logged(self) -> str:
        """Return all that the server wrote to its logs."""

    def settings(self) -> dict[str, str]:
        return {
            "host": self.host,
            "port": str(self.port),
            "ca_certificate": self.ca.read_text(),
            "login_a": self.users[0],
            "login_b": self.users[1],
        }

    def admin(self) -> dict[str, str]:
        return {"username": self.administrator, "password": self.password}

    def spoiled(self, value: str) -> str:
        return json.dumps({**json.loads(value), "password": "no-" + self.mark})
