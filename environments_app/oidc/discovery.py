"""What a provider states of itself: its discovery document, fetched by the outbound rule and kept on its row.

Each request to a provider has one deadline and a largest answer, and follows no redirect; few wait at once.
Addresses are those of the stored document, never of a token.
"""

import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from core.config.sizes import WEB_THREADS
from core.errors import AnswerTooLarge, BadEndpoint, OutboundError
from core.network.limits import limited
from core.network.outbound import certificate_problem, session
from environments_app.errors import InvalidField, SignOnUnavailable
from environments_app.trusts.jwt.document import BadJson, read_object
from environments_app.trusts.key_source import require_key_url

# So many requests of a process wait for one provider at once.
AT_ONCE: Final = 2
MAX_BYTES: Final = 64 * 1024
GOOGLE: Final = "https://accounts.google.com"
_GITLAB: Final = "https://gitlab.com"
_DISCOVERY: Final = "/.well-known/openid-configuration"
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_OPTIONAL: Final = ("userinfo_endpoint", "end_session_endpoint")
_LISTS: Final = (
    "id_token_signing_alg_values_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "code_challenge_methods_supported",
)
_ANNOUNCES_ISS: Final = "authorization_response_iss_parameter_supported"
_MAX_ADDRESS: Final = 500
_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENTRA_HOSTS: Final = frozenset({"login.microsoftonline.com", "login.microsoftonline.us", "sts.windows.net"})
_log: Final = logging.getLogger(__name__)
_waiting: Final = Counter[str]()
_waiting_lock: Final = threading.Lock()
_OKTA: Final = (".okta.com", ".oktapreview.com", ".okta-emea.com", ".okta-gov.com")


def require_issuer(issuer: str) -> str:
    """Return an issuer unchanged. Raises InvalidField if it is no https address, or shared by all tenants."""
    try:
        require_key_url(issuer)
    except BadEndpoint as error:
        raise InvalidField("issuer", str(error)) from error
    if issuer != issuer.strip() or (urlsplit(issuer).hostname in _ENTRA_HOSTS and tenant_of(issuer) is None):
        raise InvalidField(
            "issuer",
            "Enter the issuer of one tenant: https://login.microsoftonline.com/TENANT-ID/v2.0.",
        )
    return issuer


def tenant_of(issuer: str) -> str | None:
    """Return the tenant of an issuer of Microsoft Entra, None for any other issuer."""
    parts = urlsplit(issuer)
    tenant, _, rest = parts.path.removeprefix("/").partition("/")
    is_one = parts.hostname in _ENTRA_HOSTS and rest == "v2.0" and _GUID.fullmatch(tenant)
    return tenant if is_one else None


def is_okta(issuer: str) -> bool:
    """Return whether an issuer is Okta's, which cuts the groups at 100."""
    return (urlsplit(issuer).hostname or "").endswith(_OKTA)


def require_members(issuer: str, required: Mapping[str, Any]) -> None:
    """Raise InvalidField if an issuer serves everybody, and no claim says who belongs to the company."""
    if issuer == GOOGLE and "hd" not in required:
        raise InvalidField("required_claims", "Google signs in everybody: enter hd=your-domain.example.")
    if issuer == _GITLAB and not required:
        raise InvalidField("required_claims", "gitlab.com signs in everybody: enter a claim of your group.")


def discovered(issuer: str) -> str:
    """Fetch a provider's discovery document, and return what Keeper uses of it as JSON.

    Raises SignOnUnavailable, which names the cause.
    """
    with limit_waiting(issuer):
        content = ask("GET", issuer.rstrip("/") + _DISCOVERY)
    document = read_answer(content, "The discovery document")
    if document.get("issuer") != issuer:
        raise SignOnUnavailable("The discovery document is of another issuer: copy its issuer exactly.")
    kept: dict[str, Any] = {"issuer": issuer, _ANNOUNCES_ISS: document.get(_ANNOUNCES_ISS) is True}
    for name in (*_ENDPOINTS, *_OPTIONAL):
        address = document.get(name)
        if address is None and name in _OPTIONAL:
            continue
        if not isinstance(address, str) or len(address) > _MAX_ADDRESS:
            raise SignOnUnavailable(f"The discovery document has no {name}.")
        try:
            require_key_url(address)
        except BadEndpoint as error:
            raise SignOnUnavailable(f"The provider's {name} cannot be used: {error}.") from error
        kept[name] = address
    for name in _LISTS:
        if isinstance(listed := document.get(name), list):
            kept[name] = [text for text in listed if isinstance(text, str)][:100]
    return json.dumps(kept, sort_keys=True)


def announces_iss(document: Mapping[str, Any]) -> bool:
    """Return whether a provider names itself in each answer (RFC 9207)."""
    return document.get(_ANNOUNCES_ISS) is True


@contextmanager
def limit_waiting(issuer: str) -> Iterator[None]:
    """Bound all requests of the block together. Raises SignOnUnavailable where this process waits for enough.

    Providers that do not answer never hold all threads of a web server.
    """
    with _waiting_lock:
        if _waiting[issuer] >= AT_ONCE or _waiting.total() >= WEB_THREADS - 1:
            raise SignOnUnavailable(
                "The identity provider is slow to answer, and others wait for it already. "
                "Try again in some seconds."
            )
        _waiting[issuer] += 1
    try:
        with limited():
            yield
    finally:
        with _waiting_lock:
            _waiting[issuer] -= 1
            if not _waiting[issuer]:
                del _waiting[issuer]


def ask(method: str, address: str, **options: Any) -> bytes:
    """Return a provider's answer with status 200, within one deadline. Raises SignOnUnavailable."""
    response = answer_of(method, address, **options)
    if response.status_code != requests.codes.ok:
        raise SignOnUnavailable(f"The identity provider answers {response.status_code}. Try again later.")
    return bytes(response.content)


def answer_of(method: str, address: str, **options: Any) -> requests.Response:
    """Send one request to a provider, and return the answer whatever its status. Raises SignOnUnavailable."""
    headers = {"Accept": "application/json", **options.pop("headers", {})}
    try:
        with limited(most=2 * MAX_BYTES), session(most=MAX_BYTES) as http:
            return http.request(method, address, headers=headers, **options)
    except AnswerTooLarge as error:
        raise SignOnUnavailable("The identity provider's answer is too large.") from error
    except requests.exceptions.SSLError as error:
        problem = certificate_problem(address, error)
        _log.warning("identity provider: %s", problem)
        raise SignOnUnavailable(problem) from error
    except (requests.RequestException, OutboundError, OSError) as error:
        raise SignOnUnavailable("The identity provider cannot be reached now. Try again later.") from error


def read_answer(content: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object of an answer. Raises SignOnUnavailable."""
    try:
        return read_object(content)
    except BadJson as error:
        raise SignOnUnavailable(f"{what} of the identity provider is not valid JSON.") from error
