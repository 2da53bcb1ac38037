"""What the backends of systems with one address share, and those whose secrets are variables."""

import ssl
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import ClassVar

from audit_app.network.outbound import normalised_endpoint
from core.errors import BadEndpoint
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import fill_defaults
from sync_app.backends.observations import SecretMetadata
from sync_app.backends.rest_client import NotFound, RestAnswer
from sync_app.backends.variable_names import VariableNames, explain_bad_variable
from sync_app.domain.reconciliation import Presence
from sync_app.errors import BadDestination, ChangedSinceRead, PermissionMissing


class RestBackend(Backend):
    """A system at the address in the destination's field `address`."""

    # Of a request; None: KEEPER_OUTBOUND_SECONDS.
    timeout_seconds: ClassVar[float | None] = None
    page_size: ClassVar[int]

    @classmethod
    def endpoint(cls, destination: Mapping[str, str]) -> str:
        try:
            return normalised_endpoint(fill_defaults(cls.destination_fields, destination)["address"])
        except BadEndpoint as error:
            raise BadDestination(str(error), field="address") from error

    def batch_get_metadata(self, names: Collection[str]) -> dict[str, SecretMetadata]:
        wanted = {self.remote_name(name): name for name in names}
        found = {}
        for seen in self.list_secrets():
            if name := wanted.get(self.remote_name(seen.name)):
                found[name] = replace(seen, name=name)
        return found

    def restore(self, name: str) -> SecretMetadata:
        """Return the present state: nothing that was deleted is kept."""
        return self.get_metadata(name)


class VariableBackend(RestBackend):
    """A system whose secrets are environment variables: upper case, without folders."""

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._names = VariableNames(self.destination["prefix"])

    @property
    def path_prefix(self) -> str:
        return self._names.path

    def remote_name(self, name: str) -> str:
        return self._names.variable(name)

    def explain_refusal(self, act: str, name: str) -> str:
        if act != "create":
            return ""
        variable = self.remote_name(name)
        return self._explain_name(variable) or explain_bad_variable(variable)

    def get_metadata(self, name: str) -> SecretMetadata:
        return self._find(name) or SecretMetadata(name=name, presence=Presence.ABSENT)

    def _change(self, send: Callable[[], RestAnswer], *, of: str = "") -> RestAnswer:
        """Send a write, to the item `of` if it is of an existing one.

        Such systems answer 404 also to what is not permitted, so that nothing private is disclosed. Raises
        PermissionMissing for a write to a place that is shown, MountMissing if the place is not, and
        ChangedSinceRead if it is the item that is gone.
        """
        try:
            return send()
        except PermissionMissing:
            pass
        except NotFound as error:
            self._require_place()
            if of and self._find(of) is None:
                raise ChangedSinceRead(str(error)) from None
        raise PermissionMissing(self._lacking)

    @property
    @abstractmethod
    def _lacking(self) -> str:
        """What an operator is told where a write is not permitted: which permission is missing."""

    @abstractmethod
    def _require_place(self) -> None:
        """Raise MountMissing unless the place of the variables is shown to the credentials."""

    @abstractmethod
    def _find(self, name: str) -> SecretMetadata | None:
        """Return the metadata of a variable; None if there is none."""

    def _explain_name(self, variable: str) -> str:
        """Return why the system takes no variable of this name; empty if it does."""
        return ""


def refuse_unreadable(ca: str) -> None:
    """Raise BadDestination for what is no certificate in PEM; nothing is none of them."""
    try:
        if ca:
            ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise BadDestination("enter certificates in PEM", field="ca_certificate") from None
