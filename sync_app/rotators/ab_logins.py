"""Two logins of one database server that take turns: what MySQL's and PostgreSQL's rotators share."""

import hashlib
import re
import string
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Final

from secrets_app.types.generators.password import draw
from sync_app.backends.capabilities import FormField
from sync_app.errors import (
    BackendError,
    BadDestination,
    ClientMissing,
    CredentialInUse,
    CredentialsRejected,
    StillAccepted,
    ValueUnusable,
)
from sync_app.rotators.base import Fence, Login, LoginAnswer, LoginProbe, PendingCredential, Rotator
from sync_app.rotators.credential_json import DatabaseCredential, parse_credential, replace_fields
from sync_app.rotators.endpoint import Endpoint

# The unreserved characters of RFC 3986: such a password goes into a connection URL as it is.
_CLASSES: Final = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "-._~")
PASSWORD_LENGTH: Final = 32
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\s]+))(?::(?P<port>[0-9]{1,5}))?")

_TURNS: Final = "Keeper alternates between two database users, so that the old one works during the overlap."
# So far ahead, and no further, a rotation may wait (rotation.execution.lease.LONGEST_WAIT).
MAX_PROPAGATION_SECONDS: Final = 1200
MAX_REPLICAS: Final = 20
LOGIN_FIELDS: Final = (
    FormField(name="login_a", label="Login A", required=True, help=_TURNS),
    FormField(name="login_b", label="Login B", required=True),
    FormField(
        name="replicas",
        label="Replicas",
        lines=True,
        help="One host or host:port on each line. A new value is served once it logs in at each of them.",
    ),
    FormField(
        name="propagation_seconds",
        label="Propagation",
        pattern="[0-9]{0,4}",
        help=f"Seconds to wait before a new value is tried, up to {MAX_PROPAGATION_SECONDS}, "
        "for replicas that Keeper cannot reach.",
    ),
)
ADMIN_FIELDS: Final = (
    FormField(name="username", label="Database administrator's login", required=True, sensitive=True),
    FormField(name="password", label="Database administrator's password", required=True, sensitive=True),
)


def generate_password() -> str:
    """Return a password that every client takes without escaping, of over 190 bits."""
    return draw(PASSWORD_LENGTH, _CLASSES)


@contextmanager
def require_client(need: str) -> Iterator[None]:
    """Import a database's client in this block. Raises ClientMissing if it is not installed."""
    try:
        yield
    except ImportError as error:
        raise ClientMissing(f"{need}: install requirements.txt") from error


class AbLogins(Rotator):
    """A rotator over logins A and B: the idle one gets the new password, then they change places."""

    admin_fields: ClassVar[tuple[FormField, ...]] = ADMIN_FIELDS
    # What the convention of AWS calls the engine.
    engines: ClassVar[frozenset[str]]
    probe_seconds: ClassVar[int] = 10

    def __init__(self, *, settings: Mapping[str, str], admin: Mapping[str, str]) -> None:
        super().__init__(settings=settings, admin=admin)
        self.server = Endpoint.of(self.settings)
        self.replicas = _replicas_of(self.settings)
        self.settle_seconds = _seconds_of(self.settings["propagation_seconds"])
        self.logins = self._usernames()
        if self.logins[0] == self.logins[1]:
            raise BadDestination("choose two different logins for A and B", field="login_b")

    @classmethod
    def logins_of(cls, settings: Mapping[str, str]) -> frozenset[Login]:
        return frozenset(Login(settings[field]) for field in ("login_a", "login_b"))

    def idle_login(self, current: str) -> str:
        return self._turns(current)[1]

    def prepare(self, current: str) -> PendingCredential:
        login = self.idle_login(current)
        return PendingCredential(
            login=login, value=replace_fields(current, username=login, password=generate_password())
        )

    def set(self, pending: PendingCredential, *, current: str, fence: Fence) -> str:
        if pending.value is None:
            raise ValueUnusable("there is no pending value")
        credential = self._credential(pending.value)
        self._refuse_current(credential.username, current)
        self._change_password(credential.username, credential.password, fence=fence, locked=False)
        return pending.value

    def probe(self, value: str) -> LoginProbe:
        return self._probe_at(self.server, value)

    def probe_replicas(self, value: str) -> Iterator[tuple[str, LoginProbe]]:
        for replica in self.replicas:
            yield f"{replica.host}:{replica.port}", self._probe_at(replica, value)

    def _probe_at(self, server: Endpoint, value: str) -> LoginProbe:
        credential = self._credential(value)
        try:
            self._log_in(server, credential)
        except CredentialsRejected as error:
            return LoginProbe(LoginAnswer.REFUSED, str(error))
        except BackendError as error:
            return LoginProbe(LoginAnswer.UNKNOWN, str(error))
        return LoginProbe(LoginAnswer.ACCEPTED)

    def retire(self, value: str, *, current: str, fence: Fence) -> None:
        """Give the old login a random password that is not stored, and verify that the old one is refused."""
        username = self._credential(value).username
        self._refuse_current(username, current)
        self._change_password(username, generate_password(), fence=fence, locked=True)
        probed = self.probe(value)
        if probed.answer is not LoginAnswer.REFUSED:
            raise StillAccepted(
                f"{username} is not proven to be locked out ({probed.why or probed.answer}): try again"
            )

    def revoke_unserved(self, pending: PendingCredential, *, current: str, fence: Fence) -> None:
        if pending.value is None:
            raise ValueUnusable("there is no pending value")
        self.retire(pending.value, current=current, fence=fence)

    def _turns(self, current: str) -> tuple[str, str]:
        """Return the user names of the login that serves `current`, and of the idle one."""
        served = self._credential(current).username
        return served, self.logins[1 - self.logins.index(served)]

    def _credential(self, value: str) -> DatabaseCredential:
        credential = parse_credential(value, engines=self.engines)
        if credential.username not in self.logins:
            raise ValueUnusable(f"the value's username is neither {' nor '.join(self.logins)}")
        return credential

    def _refuse_current(self, username: str, current: str) -> None:
        if username == self._credential(current).username:
            raise CredentialInUse(f"{username} has the current value: nothing was changed")

    def _lock_digest(self) -> bytes:
        """Return what the advisory lock of these logins is called, whichever policy names them."""
        return hashlib.sha256("\0".join(sorted(self.logins)).encode()).digest()

    @abstractmethod
    def _usernames(self) -> tuple[str, str]:
        """Return the user names of A and B as a value holds them."""

    @abstractmethod
    def _change_password(self, username: str, password: str, *, fence: Fence, locked: bool) -> None:
        """Set a login's password under the server's advisory lock; the server sees its hash only."""

    @abstractmethod
    def _log_in(self, server: Endpoint, credential: DatabaseCredential) -> None:
        """Log in, run a statement, and log out.

        Raises CredentialsRejected only if the server refuses this very secret.
        """


def _replicas_of(settings: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """Return the replicas that a policy names, under the TLS rules of its server. Raises BadDestination."""
    found = []
    for line in filter(None, map(str.strip, settings["replicas"].splitlines())):
        address = _ADDRESS.fullmatch(line)
        if address is None:
            raise BadDestination("enter one host or host:port on each line", field="replicas")
        host, port = address["v6"] or address["host"], address["port"] or settings["port"]
        try:
            found.append(Endpoint.of({**settings, "host": host, "port": port}))
        except BadDestination as error:
            raise BadDestination(f"{line}: {error}", field="replicas") from error
    if len(found) > MAX_REPLICAS:
        raise BadDestination(f"name at most {MAX_REPLICAS} replicas", field="replicas")
    return tuple(dict.fromkeys(found))


def _seconds_of(text: str) -> int:
    if not (text or "0").isdecimal() or int(text or 0) > MAX_PROPAGATION_SECONDS:
        raise BadDestination(f"enter 0 to {MAX_PROPAGATION_SECONDS} seconds", field="propagation_seconds")
    return int(text or 0)
