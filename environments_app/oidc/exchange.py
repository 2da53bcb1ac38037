"""The code flow with a provider: the request, the code exchanged for tokens, and what they say of a person.

Nonce and PKCE verifier are derived from the state, so that nothing is stored for a stranger. Access tokens
are dropped when a person is known; none is stored.
"""

import base64
import hashlib
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import requests
import structlog
from django.conf import settings
from django.utils.crypto import salted_hmac

from environments_app.authentication.pending import Requests
from environments_app.authentication.sign_in import ProviderSubject
from environments_app.errors import KeysUnavailable, SignOnRefused, SignOnUnavailable
from environments_app.models import ClientAuth, OidcProvider
from environments_app.oidc import id_tokens
from environments_app.oidc.client_keys import ASSERTION_TYPE, client_assertion
from environments_app.oidc.discovery import answer_of, ask, read_answer
from environments_app.oidc.id_tokens import refuse
from environments_app.oidc.providers import document_of, expected_of, open_secret
from environments_app.single_sign_on.account_binding import Vouched
from environments_app.single_sign_on.answers import Answer
from environments_app.trusts.jwt.document import Jwt, Key
from environments_app.trusts.jwt.rules import claim_texts
from environments_app.trusts.key_source import KeySource, find_key

# Salts are frozen: they do not follow the name of the module.
_SALT: Final = "environments_app.oidc"
_MAX_HINT: Final = 4096
logger: Final = structlog.get_logger(__name__)


def requests_of(provider: OidcProvider) -> Requests:
    """Return the requests to a provider; a state of another provider is none of them."""
    return Requests("keeper_oidc", f"/oidc/{provider.slug}/", f"{_SALT}.requests.{provider.uuid}")


def redirect_address(provider: OidcProvider) -> str:
    """Return where a provider sends people back to: an address of its own, against mix-ups."""
    return f"{settings.KEEPER_URL}/oidc/{provider.slug}/callback"


def authorization_address(provider: OidcProvider, state: str, *, again: bool, login_hint: str = "") -> str:
    """Return where a browser asks the provider; `again` asks for the person's credentials in any case."""
    query = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_address(provider),
        "scope": provider.scopes,
        "state": state,
        "nonce": _derived("nonce", state),
        "code_challenge": _challenge(state),
        "code_challenge_method": "S256",
    }
    if again:
        query |= {"prompt": "login", "max_age": str(settings.KEEPER_REAUTH_SECONDS)}
    if login_hint:
        query["login_hint"] = login_hint
    if len(hosted := provider.required_claims.get("hd", [])) == 1:
        # A hint to Google; the claim decides.
        query["hd"] = hosted[0]
    address = document_of(provider)["authorization_endpoint"]
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"


def answer_to(provider: OidcProvider, *, state: str, code: str) -> Answer:
    """Exchange a code, and return what the provider proves of a person.

    It uses the network: call it outside a transaction. Raises SignOnRefused, SignOnUnavailable.
    """
    tokens = _tokens(provider, state=state, code=code)
    text, access_token = tokens.get("id_token"), tokens.get("access_token")
    if not isinstance(text, str) or not isinstance(access_token, str) or not access_token.isascii():
        refuse("oidc-token")
    expected = expected_of(provider)
    jwt = id_tokens.read_token(text)
    claims = id_tokens.judge_id_token(
        jwt,
        key_of(provider, jwt),
        expected,
        nonce=_derived("nonce", state),
        access_token=access_token,
        now=time.time(),
    )
    described = _described(provider, claims, access_token)
    return Answer(
        vouched=_vouched(provider, claims["sub"], described),
        groups=id_tokens.groups_of(described, expected),
        subject=ProviderSubject(
            issuer=provider.subject_issuer,
            name_id=claims["sub"],
            name_id_format="",
            session_index=claims.get("sid", ""),
        ),
        proved_at=id_tokens.proved_at(claims),
        ends_at=int(time.time()) + 3600 * int(provider.session_hours),
        provider=provider,
        hint=text if len(text) <= _MAX_HINT and "end_session_endpoint" in document_of(provider) else "",
    )


def key_of(provider: OidcProvider, jwt: Jwt) -> Key | None:
    """Return the key that a token names, if the provider has it. Raises SignOnRefused, SignOnUnavailable."""
    # Nothing is fetched for a token that names another algorithm or issuer anyway.
    if jwt.algorithm != provider.algorithm or not jwt.key_id:
        return None
    if jwt.claims.get("iss") != provider.issuer:
        refuse("oidc-issuer")
    source = KeySource(issuer=provider.issuer, jwks_url=document_of(provider)["jwks_uri"])
    try:
        return find_key(source, algorithm=provider.algorithm, kid=jwt.key_id)
    except KeysUnavailable as error:
        raise SignOnUnavailable("The keys of the identity provider cannot be fetched now.") from error


def end_address(provider: OidcProvider, *, hint: str) -> str | None:
    """Return where a browser ends its session at the provider; None if that has no address."""
    address = document_of(provider).get("end_session_endpoint")
    if not isinstance(address, str):
        return None
    query = {
        "client_id": provider.client_id,
        "post_logout_redirect_uri": f"{settings.KEEPER_URL}/oidc/{provider.slug}/signed-out",
        **({"id_token_hint": hint} if hint else {}),
    }
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"


def _tokens(provider: OidcProvider, *, state: str, code: str) -> Mapping[str, Any]:
    """Return the answer of the token endpoint. Raises SignOnRefused, SignOnUnavailable."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_address(provider),
        "code_verifier": _derived("verifier", state),
        "client_id": provider.client_id,
    }
    document, options = document_of(provider), {}
    address = document["token_endpoint"]
    if provider.client_auth == ClientAuth.PRIVATE_KEY_JWT:
        takes = document.get("token_endpoint_auth_signing_alg_values_supported")
        form["client_assertion_type"] = ASSERTION_TYPE
        form["client_assertion"] = client_assertion(provider, audience=address, algorithms=takes)
    elif provider.client_auth == ClientAuth.BASIC:
        # Encoded as in a form first (RFC 6749, 2.3.1).
        options["auth"] = (quote(provider.client_id, safe=""), quote(open_secret(provider), safe=""))
    else:
        form["client_secret"] = open_secret(provider)
    response = answer_of("POST", address, data=form, **options)
    if response.status_code >= requests.codes.server_error:
        raise SignOnUnavailable(f"The identity provider answers {response.status_code}. Try again later.")
    if response.status_code != requests.codes.ok:
        # Such as invalid_grant: the code was used or is another client's. Its text is a stranger's.
        logger.warning("oidc_code_refused", provider=provider.slug, status=response.status_code)
        refuse("oidc-token", "The identity provider did not accept the sign-in. Sign in again.")
    try:
        return read_answer(response.content, "The answer")
    except SignOnUnavailable as error:
        raise SignOnRefused("oidc-token", "The answer of the identity provider is not valid.") from error


def _described(provider: OidcProvider, claims: Mapping[str, Any], access_token: str) -> Mapping[str, Any]:
    """Return the claims with those that only the userinfo endpoint has. Raises SignOnRefused."""
    names = (provider.username_claim, provider.email_claim, provider.name_claim, provider.groups_claim)
    absent = set(id_tokens.missing(claims, names))
    address = document_of(provider).get("userinfo_endpoint")
    if not absent or address is None or "_claim_names" in claims or "hasgroups" in claims:
        return claims
    content = ask("GET", address, headers={"Authorization": f"Bearer {access_token}"})
    try:
        further = read_answer(content, "The userinfo")
    except SignOnUnavailable as error:
        raise SignOnRefused("oidc-userinfo", "The answer of the identity provider is not valid.") from error
    if further.get("sub") != claims["sub"]:
        refuse("oidc-userinfo")
    if "email" in absent:
        absent |= {"email_verified", "xms_edov"} - claims.keys()
    # The marks of groups that were left out count wherever they are.
    absent |= {"_claim_names", "hasgroups", "groups:src1"}
    return {**claims, **{name: value for name, value in further.items() if name in absent}}


def _vouched(provider: OidcProvider, subject: str, claims: Mapping[str, Any]) -> Vouched:
    def first(name: str) -> str:
        texts = claim_texts(claims, name) if name else []
        return texts[0].strip() if texts else ""

    verified = id_tokens.has_verified_address(claims, provider.issuer)
    return Vouched(
        protocol="oidc",
        issuer=provider.subject_issuer,
        subject=subject,
        username=first(provider.username_claim),
        email=first(provider.email_claim) if verified else "",
        display_name=first(provider.name_claim),
        creates=provider.creates_accounts,
        directory_id=first("oid"),
    )


def _derived(what: str, state: str) -> str:
    """Return a secret that belongs to a state: 256 bits as base64url."""
    digest = salted_hmac(f"{_SALT}.{what}", state, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _challenge(state: str) -> str:
    digest = hashlib.sha256(_derived("verifier", state).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
