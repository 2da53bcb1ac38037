"""djangosaml2's views, held to Keeper's rules; `pages` leads here where SAML is set up."""

import base64
from typing import Any, Final

import saml2
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.utils.http import urlencode
from djangosaml2.overrides import Saml2Client
from djangosaml2.views import AssertionConsumerServiceView, LoginView
from saml2 import sigver
from saml2.config import SPConfig
from saml2.metadata import entity_descriptor
from saml2.response import AuthnResponse, StatusError
from saml2.s_utils import success_status_factory
from saml2.saml import Issuer, NameID
from saml2.samlp import LogoutResponse
from saml2.sigver import MissingKey, SignatureError
from saml2.time_util import instant
from saml2.xml.schema import XMLSchemaError, validate

from audit_app.events.actors import Actor
from environments_app.authentication.pending import SAML_REQUESTS, PendingRequest
from environments_app.authentication.sign_in import ProviderSubject
from environments_app.errors import SignOnRefused
from environments_app.saml import configuration
from environments_app.saml.protocol.assertion_rules import Statement, read_statement
from environments_app.saml.protocol.logout import LogoutRequest, read_logout
from environments_app.saml.protocol.replay_guard import accept, use_logout
from environments_app.saml.protocol.xml_document import (
    DIGEST_METHODS,
    SIGNATURE_METHODS,
    decoded,
    read_response,
)
from environments_app.sessions.service import end_provider_sessions

_FIELD: Final = "SAMLResponse"
# pysaml2 validates a copy that it wrote itself. The copy lacks the namespaces that only the type of a value
# names, as ADFS and Okta send it (IdentityPython/pysaml2#1025). So Keeper validates what was sent.
sigver.validate_doc_with_schema = str
_UNVERIFIED: Final = "The signature of the identity provider could not be verified."


class MemorySession(dict[str, Any]):
    """What djangosaml2 calls the SAML session, for one request: nothing of it is stored.

    Its own is a second session under a cookie with SameSite=None.
    """

    modified = False


class StartView(LoginView):  # type: ignore[misc]  # untyped base
    """Sends the browser to the identity provider with a signed request, by the redirect binding."""

    def __init__(self, *, target: str, again: str, purpose: str, **options: Any) -> None:
        super().__init__(**options)
        self._pending = PendingRequest(SAML_REQUESTS.new_id(), target, again, purpose)

    def get(self, request: HttpRequest) -> HttpResponse:
        request.saml_session = MemorySession()  # type: ignore[attr-defined]  # djangosaml2's name
        # Neither the target nor anything else that was asked for travels to the provider.
        request.GET = QueryDict()
        response: HttpResponse = super().get(request)
        SAML_REQUESTS.remember(request, response, self._pending)
        return response

    def get_sp_config(self, request: HttpRequest) -> SPConfig:
        """Return Keeper's configuration, with the one identity provider there is."""
        config = configuration.load(request)
        configuration.provider_id(config)
        return config

    def should_prevent_auth(self, request: HttpRequest) -> bool:  # noqa: ARG002 - djangosaml2's signature
        """Start again in any case: `pages` has redirected users who need no sign-in."""
        return False

    def load_sso_kwargs(self, sso_kwargs: dict[str, Any]) -> None:
        """Use our own id, and ask for the person's credentials where that is the point."""
        sso_kwargs["message_id"] = self._pending.id
        if self._pending.again:
            sso_kwargs["force_authn"] = "true"


class AnswerView(AssertionConsumerServiceView):  # type: ignore[misc]  # untyped base
    """Judges the posted answer and sends the browser on with a handle; no cookie is needed here.

    The rules of `document` and `statement` come first, then pysaml2 verifies both signatures over
    the same bytes, then the assertion is used up.
    """

    _statement: Statement
    _handle: str = ""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Redirect to where the browser's cookie is checked. Raises SignOnRefused, SignOnUnavailable."""
        document = decoded(request.POST.get(_FIELD, ""))
        config = configuration.load(request)
        self._statement = read_statement(*read_response(document), configuration.expected(config))
        _require_valid(document)
        # One spelling for all parsers that follow.
        request.POST = QueryDict(urlencode({_FIELD: base64.b64encode(document).decode()}))
        pending = {self._statement.in_response_to: ""}
        request.saml_session = MemorySession(_saml2_outstanding_queries=pending)  # type: ignore[attr-defined]  # djangosaml2 reads it there
        response: HttpResponse = super().post(request)
        return response

    def get_sp_config(self, request: HttpRequest) -> SPConfig:
        return configuration.load(request)

    def handle_acs_failure(
        self,
        request: HttpRequest,  # noqa: ARG002 - djangosaml2's signature
        exception: Exception | None = None,
        **_more: Any,
    ) -> HttpResponse:
        """Determine the reason from pysaml2's errors."""
        if isinstance(exception, StatusError):
            raise SignOnRefused("saml-status", "The identity provider did not sign you in.") from exception
        if isinstance(exception, SignatureError | MissingKey):
            raise SignOnRefused("saml-signature", _UNVERIFIED) from exception
        raise SignOnRefused(
            "saml-invalid", "The answer of the identity provider is not valid."
        ) from exception

    def custom_validation(self, response: AuthnResponse) -> None:
        """See that pysaml2 verified what was judged, and not another part of the document."""
        ours, theirs = self._statement, response.assertion
        verified = (response.response.id, theirs.id, theirs.subject.name_id.text)
        if verified != (ours.response_id, ours.assertion_id, ours.name_id):
            raise SignatureError("another element was verified than the one that was judged")

    def authenticate_user(self, request: HttpRequest, *_arguments: Any) -> AnonymousUser:  # noqa: ARG002 - djangosaml2's signature
        """Use up the assertion; who it is about signs in on the next step."""
        self._handle = accept(self._statement)
        return AnonymousUser()

    def custom_redirect(self, user: Any, relay_state: str, session_info: Any) -> str:  # noqa: ARG002 - djangosaml2's signature
        """Redirect to the next step, regardless of the relay state."""
        return f"{reverse('saml-finish')}?{urlencode({'handle': self._handle})}"


def _require_valid(document: bytes) -> None:
    """Raise SignOnRefused for an answer that breaks SAML's schema, without pysaml2's text: it quotes it."""
    try:
        validate(document.decode())
    except XMLSchemaError:
        raise SignOnRefused(
            "saml-malformed", "The answer of the identity provider does not follow the schema of SAML."
        ) from None


def sp_metadata() -> bytes:
    """Return Keeper's own metadata, for the identity provider.

    pysaml2 lists every algorithm that xmlsec1 knows; only those that Keeper accepts are left.
    """
    described = entity_descriptor(configuration.load())
    listed = described.extensions.extension_elements
    described.extensions.extension_elements = [
        each for each in listed if each.attributes.get("Algorithm") in SIGNATURE_METHODS | DIGEST_METHODS
    ]
    return str(described).encode()


def answer_logout(query: str, *, actor: Actor) -> tuple[str | None, list[str]]:
    """End the sessions that the provider asks to end, by the query string as it was sent.

    Return where the browser carries the answer (None if the provider takes none) and the keys of the
    sessions that ended. Raises SignOnRefused, SignOnUnavailable.
    """
    config = configuration.load()
    logout = read_logout(
        query,
        expected=configuration.expected_logout(config),
        certificates=configuration.signing_certificates(config),
    )
    use_logout(logout)
    ended = end_provider_sessions(
        actor=actor, issuer=logout.issuer, name_id=logout.name_id, indexes=logout.session_indexes
    )
    return _logout_response(config, logout), ended


def _logout_response(config: SPConfig, logout: LogoutRequest) -> str | None:
    services = config.metadata.single_logout_service(logout.issuer, saml2.BINDING_HTTP_REDIRECT, "idpsso")
    if not services:
        return None
    destination = services[0].get("response_location") or services[0]["location"]
    response = LogoutResponse(
        id=SAML_REQUESTS.new_id(),
        version="2.0",
        issue_instant=instant(),
        in_response_to=logout.id,
        destination=destination,
        issuer=Issuer(text=config.entityid),
        status=success_status_factory(),
    )
    info = Saml2Client(config).apply_binding(
        saml2.BINDING_HTTP_REDIRECT,
        str(response),
        destination,
        relay_state=logout.relay_state,
        response=True,
        sign=True,
    )
    return str(dict(info["headers"])["Location"])


def logout_address(subject: ProviderSubject) -> str | None:
    """Return where a browser ends its session at the identity provider; None if that has no address."""
    config = configuration.load()
    client = Saml2Client(config)
    provider = configuration.provider_id(config)
    services = config.metadata.single_logout_service(provider, saml2.BINDING_HTTP_REDIRECT, "idpsso")
    if not services:
        return None
    destination = services[0]["location"]
    _, message = client.create_logout_request(
        destination,
        provider,
        name_id=NameID(text=subject.name_id, format=subject.name_id_format or None),
        session_indexes=[subject.session_index] if subject.session_index else None,
        sign=False,
    )
    # The redirect binding signs the address, not the message.
    info = client.apply_binding(saml2.BINDING_HTTP_REDIRECT, str(message), destination, sign=True)
    return str(dict(info["headers"])["Location"])
