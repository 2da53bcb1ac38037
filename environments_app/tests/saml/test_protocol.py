"""Each rule on an answer and on a logout by itself: the accepted document with one thing changed.

Whether xmlsec1 verifies it is another question: here nothing does, and each rule has to hold alone.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, fromstring

import pytest

from environments_app.authentication.pending import LIFETIME_SECONDS, SAML_REQUESTS
from environments_app.errors import SignOnRefused
from environments_app.saml.protocol import assertion_rules, logout, xml_document
from environments_app.saml.protocol.assertion_rules import Expected, Statement, moment_of, read_statement
from environments_app.saml.protocol.xml_document import read_response, read_tree, text_of

ACS = "https://keeper.example.com/saml/acs"
IDP = "https://idp.example.com/saml"
AUDIENCE = "https://keeper.example.com/saml/metadata"
SKEW = 60
EXPECTED = Expected(address=ACS, issuer=IDP, audience=AUDIENCE, skew=SKEW, attributes=frozenset({"groups"}))
Change = Callable[[str], str]


def at(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def signature(of: str) -> str:
    return (
        '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>'
        '<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
        '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/>'
        f'<ds:Reference URI="#{of}"><ds:Transforms>'
        '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'
        '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>'
        '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
        "<ds:DigestValue>eA==</ds:DigestValue></ds:Reference></ds:SignedInfo>"
        "<ds:SignatureValue>eA==</ds:SignatureValue><ds:KeyInfo/></ds:Signature>"
    )


def answer(request_id: str) -> str:
    """Return an answer that keeps every rule."""
    return (
        '<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"'
        ' xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'
        f' ID="r1" Version="2.0" IssueInstant="{at(0)}" Destination="{ACS}" InResponseTo="{request_id}">'
        f"<saml:Issuer>{IDP}</saml:Issuer>{signature('r1')}"
        '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
        f'<saml:Assertion ID="a1" Version="2.0" IssueInstant="{at(0)}">'
        f"<saml:Issuer>{IDP}</saml:Issuer>{signature('a1')}"
        "<saml:Subject><saml:NameID>alice</saml:NameID>"
        '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
        f'<saml:SubjectConfirmationData Recipient="{ACS}" InResponseTo="{request_id}"'
        f' NotOnOrAfter="{at(300)}"/></saml:SubjectConfirmation></saml:Subject>'
        f'<saml:Conditions NotBefore="{at(-10)}" NotOnOrAfter="{at(300)}">'
        f"<saml:AudienceRestriction><saml:Audience>{AUDIENCE}</saml:Audience></saml:AudienceRestriction>"
        "</saml:Conditions>"
        f'<saml:AuthnStatement AuthnInstant="{at(-5)}" SessionIndex="s1"><saml:AuthnContext/></saml:AuthnStatement>'
        '<saml:AttributeStatement><saml:Attribute Name="groups"><saml:AttributeValue>ops</saml:AttributeValue>'
        "</saml:Attribute></saml:AttributeStatement>"
        "</saml:Assertion></samlp:Response>"
    )


def many_values(name: str) -> str:
    """Return an attribute of more than half of the values that an answer may have altogether."""
    values = "<saml:AttributeValue/>" * (assertion_rules._MAX_VALUES // 2 + 1)
    return f'<saml:Attribute Name="{name}">{values}</saml:Attribute>'


def judged(text: str) -> Statement:
    return read_statement(*read_response(text.encode()), EXPECTED)


def reason(act: Callable[[], object]) -> str:
    with pytest.raises(SignOnRefused) as refused:
        act()
    return refused.value.reason


def swap(old: str, new: str, count: int = 1) -> Change:
    """Return a change of the first places at which a text stands."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, count)

    return change


def in_assertion(old: str, new: str) -> Change:
    def change(text: str) -> str:
        head, mark, tail = text.partition("<saml:Assertion ")
        assert old in tail
        return head + mark + tail.replace(old, new, 1)

    return change


@pytest.fixture
def request_id(settings: object) -> str:
    return SAML_REQUESTS.new_id()


def test_the_answer_that_keeps_every_rule_is_read(request_id: str) -> None:
    statement = judged(answer(request_id))
    assert (statement.name_id, statement.session_index, statement.attributes, statement.response_id) == (
        "alice",
        "s1",
        {"groups": ["ops"]},
        "r1",
    )


DEEP = "<saml:X>" * 60 + "</saml:X>" * 60
EXTRA = signature("other")
WRONG: dict[str, tuple[str, Change]] = {
    # What kind of document it is.
    "another message": ("saml-malformed", lambda text: text.replace("samlp:Response", "samlp:LogoutResponse")),
    "another version": ("saml-malformed", swap('Version="2.0"', 'Version="2.1"')),
    "an assertion of another version": ("saml-malformed", in_assertion('Version="2.0"', 'Version="1.1"')),
    "too deep": ("saml-malformed", swap("<samlp:Status>", f"{DEEP}<samlp:Status>")),
    "too many elements": ("saml-malformed", swap("<samlp:Status>", "<saml:X/>" * 20_001 + "<samlp:Status>")),
    "character data": ("saml-malformed", swap("alice", "<![CDATA[alice]]>")),
    "an encrypted assertion": ("saml-encrypted", swap("<samlp:Status>", "<saml:EncryptedAssertion/><samlp:Status>")),
    "an encrypted name": ("saml-encrypted", in_assertion("<saml:Subject>", "<saml:Subject><saml:EncryptedID/>")),
    # Where signatures stand, and what they cover.
    "a third signature": ("saml-structure", in_assertion("<saml:AuthnContext/>", f"<saml:AuthnContext>{EXTRA}</saml:AuthnContext>")),
    "two signatures of the assertion": ("saml-signature", in_assertion("<saml:Subject>", f"{EXTRA}<saml:Subject>")),
    "a signature of the other element": ("saml-signature", swap('URI="#r1"', 'URI="#a1"')),
    "a signature of the whole document": ("saml-signature", swap('URI="#r1"', 'URI=""')),
    "an assertion without an id": ("saml-signature", lambda text: text.replace('ID="a1"', 'ID=""').replace('URI="#a1"', 'URI="#"')),
    "a second reference": ("saml-signature", swap("</ds:SignedInfo>", '<ds:Reference URI="#a1"/></ds:SignedInfo>')),
    "no signed information": ("saml-signature", lambda text: text.replace("ds:SignedInfo", "ds:Object", 2)),
    "an object in a signature": ("saml-signature", swap("<ds:KeyInfo/>", "<ds:KeyInfo/><ds:Object/>")),
    "another canonical form": ("saml-signature", swap('Method Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"', 'Method Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"')),
    "two signature methods": ("saml-signature", swap("<ds:Reference", '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><ds:Reference')),
    "a weak digest": ("saml-signature", swap("2001/04/xmlenc#sha256", "2000/09/xmldsig#sha1")),
    "a transform that selects": ("saml-signature", swap("2000/09/xmldsig#enveloped-signature", "TR/1999/REC-xslt-19991116")),
    "a transform twice": ("saml-signature", swap("2000/09/xmldsig#enveloped-signature", "2001/10/xml-exc-c14n#")),
    # Whom it is about and who may present it.
    "two subjects": ("saml-structure", in_assertion("<saml:Subject>", "<saml:Subject/><saml:Subject>")),
    "two names": ("saml-name-id", in_assertion("<saml:NameID>", "<saml:NameID>root</saml:NameID><saml:NameID>")),
    "a name in parts": ("saml-name-id", in_assertion("alice", "al<saml:X/>ice")),
    "a name with a blank": ("saml-name-id", in_assertion(">alice<", ">alice <")),
    "a name of several lines": ("saml-name-id", in_assertion(">alice<", ">ali\nce<")),
    "a name that is too long": ("saml-name-id", in_assertion(">alice<", f">{'a' * 256}<")),
    "another way to confirm": ("saml-structure", in_assertion("cm:bearer", "cm:sender-vouches")),
    "two ways to confirm": ("saml-structure", in_assertion("<saml:SubjectConfirmation ", "<saml:SubjectConfirmation/><saml:SubjectConfirmation ")),
    "not confirmed yet": ("saml-future", in_assertion("<saml:SubjectConfirmationData ", f'<saml:SubjectConfirmationData NotBefore="{at(86_400)}" ')),
    "no end": ("saml-times", in_assertion("NotOnOrAfter", "Other")),
    # On what conditions.
    "an unknown condition": ("saml-conditions", in_assertion("</saml:Conditions>", "<saml:Condition/></saml:Conditions>")),
    "no restriction": ("saml-audience", lambda text: text.replace("saml:AudienceRestriction", "saml:OneTimeUse")),
    "an audience in parts": ("saml-audience", in_assertion(f"<saml:Audience>{AUDIENCE}", f"<saml:Audience>{AUDIENCE}<saml:X/>")),
    "two statements": ("saml-structure", in_assertion("<saml:AuthnStatement ", "<saml:AuthnStatement/><saml:AuthnStatement ")),
    "too many groups": ("saml-oversize", in_assertion("<saml:AttributeValue>", "<saml:AttributeValue/>" * assertion_rules._MAX_VALUES + "<saml:AttributeValue>")),
    "too many values in two attributes": ("saml-oversize", in_assertion("<saml:Attribute ", many_values("other") + many_values("groups") + "<saml:Attribute ")),
    "no success": ("saml-status", swap("status:Success", "status:Requester")),
    "no status": ("saml-status", swap("<samlp:StatusCode", "<samlp:Other")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_changed_is_refused(request_id: str, name: str) -> None:
    expected, change = WRONG[name]
    assert reason(lambda: judged(change(answer(request_id)))) == expected


# By how many seconds each time may be off: the skew, to the second, and no more.
TIMES: dict[str, tuple[Callable[[str, int], str], int, int, str]] = {
    "the condition begins": (lambda text, by: set_time(text, "Conditions NotBefore", by), SKEW, 3600, "saml-future"),
    "the condition ends": (lambda text, by: set_time(text, "NotOnOrAfter", by, last=True), -SKEW, -3600, "saml-expired"),
    "the confirmation ends": (lambda text, by: set_time(text, "NotOnOrAfter", by), -SKEW, -3600, "saml-expired"),
    "it was issued": (lambda text, by: set_time(text, "IssueInstant", by), SKEW, 3600, "saml-future"),
    "its assertion was issued": (lambda text, by: set_time(text, "IssueInstant", by, last=True), SKEW, 3600, "saml-future"),
    "they signed in": (lambda text, by: set_time(text, "AuthnInstant", by), SKEW, 3600, "saml-future"),
}  # fmt: skip


def set_time(text: str, name: str, by: int, *, last: bool = False) -> str:
    mark = f'{name}="'
    found = text.rindex(mark) if last else text.index(mark)
    start = found + len(mark)
    return text[:start] + at(by) + text[text.index('"', start) :]


@pytest.mark.parametrize("name", TIMES)
def test_clocks_may_differ_by_the_skew_and_no_more(
    request_id: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = float(int(time.time()))
    monkeypatch.setattr(time, "time", lambda: now)
    change, edge, far, expected = TIMES[name]
    # An end is exclusive, so that it is over at the edge itself.
    beyond = edge if edge < 0 else edge + 1
    within = edge + 1 if edge < 0 else edge
    assert judged(change(answer(request_id), within)).name_id
    for off in (beyond, far):
        assert reason(lambda off=off: judged(change(answer(request_id), off))) == expected  # type: ignore[misc]


def test_an_answer_grows_old(request_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = float(int(time.time()))
    monkeypatch.setattr(time, "time", lambda: now)
    oldest = -assertion_rules._MAX_AGE_SECONDS - SKEW
    assert judged(set_time(answer(request_id), "IssueInstant", oldest)).name_id
    assert reason(lambda: judged(set_time(answer(request_id), "IssueInstant", oldest - 1))) == "saml-expired"


def test_a_time_without_a_zone_is_utc_and_no_time_is_refused() -> None:
    assert moment_of("2026-01-02T03:04:05") == moment_of("2026-01-02T03:04:05Z") == 1767323045
    assert moment_of("2026-01-02T03:04:05+01:00") == 1767323045 - 3600
    for text in (None, "", "yesterday"):
        assert reason(lambda text=text: moment_of(text)) == "saml-times"  # type: ignore[misc]


def test_what_is_long_is_not_read() -> None:
    most = xml_document.MAX_ENCODED
    assert len(xml_document.decoded("A" * most)) == most * 3 // 4
    assert reason(lambda: xml_document.decoded("A" * (most + 1))) == "saml-oversize"


def test_the_depth_and_number_of_elements_are_limited_to_the_last() -> None:
    def nested(depth: int) -> bytes:
        return b"<x>" * depth + b"</x>" * depth

    assert read_tree(nested(xml_document._MAX_DEPTH)).tag == "x"
    assert reason(lambda: read_tree(nested(xml_document._MAX_DEPTH + 1))) == "saml-malformed"
    # Beside each other they are no depth.
    many = xml_document._MAX_ELEMENTS - 1
    assert len(read_tree(b"<x>" + b"<y/>" * many + b"</x>")) == many
    assert reason(lambda: read_tree(b"<x>" + b"<y/>" * (many + 1) + b"</x>")) == "saml-malformed"


def test_the_text_of_an_element_is_all_that_it_holds() -> None:
    assert text_of(fromstring("<x>a</x>")) == "a"
    assert text_of(fromstring("<x>a<y/>b</x>")) == text_of(fromstring("<x/>")) == text_of(None) == ""


# --- Our own request ids --------------------------------------------------------------------------


def test_an_id_of_a_request_is_ours_and_ends(settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    made = int(time.time())
    monkeypatch.setattr(time, "time", lambda: float(made))
    request_id = SAML_REQUESTS.new_id()
    assert SAML_REQUESTS.issued_at(request_id) == made
    forged = request_id[:-1] + ("0" if request_id[-1] != "0" else "1")
    later = request_id.replace(f".{made}.", f".{made + 5}.")
    for other in (forged, later, f"{request_id} ", f"x{request_id}", "", request_id.replace("k", "K", 1)):
        assert SAML_REQUESTS.issued_at(other) is None
    last = made + LIFETIME_SECONDS
    for now, known in ((last, made), (last + 1, None), (made - 1, None)):
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        assert SAML_REQUESTS.issued_at(request_id) == known


# --- Logouts ----------------------------------------------------------------------------------------

SLO = "https://keeper.example.com/saml/logout"


def asked(**changes: str) -> Element:
    given = {"version": "2.0", "id": "l1", "issuer": IDP, "to": SLO, "issued": at(0), "ends": "", "inside": "",
             "name": "<saml:NameID>alice</saml:NameID>", "index": "", "tag": "LogoutRequest"} | changes  # fmt: skip
    return fromstring(
        f'<samlp:{given["tag"]} xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"'
        ' xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'
        f' ID="{given["id"]}" Version="{given["version"]}" IssueInstant="{given["issued"]}"'
        f' Destination="{given["to"]}" {given["ends"]}>'
        f"<saml:Issuer>{given['issuer']}</saml:Issuer>{given['inside']}{given['name']}{given['index']}"
        f"</samlp:{given['tag']}>"
    )


def read(root: Element) -> logout.LogoutRequest:
    return logout._request(root, replace(EXPECTED, address=SLO), "state")


INDEX = "<samlp:SessionIndex>s1</samlp:SessionIndex>"
LOGOUTS: dict[str, tuple[str, dict[str, str]]] = {
    "another message": ("saml-malformed", {"tag": "Response"}),
    "another version": ("saml-malformed", {"version": "1.1"}),
    "no id": ("saml-malformed", {"id": ""}),
    "a signature inside": ("saml-structure", {"inside": signature("l1")}),
    "another issuer": ("saml-issuer", {"issuer": "https://other.example.com"}),
    "another address": ("saml-destination", {"to": ACS}),
    "two names": ("saml-structure", {"name": "<saml:NameID>alice</saml:NameID><saml:NameID>bob</saml:NameID>"}),
    "no name": ("saml-structure", {"name": ""}),
    "an empty name": ("saml-structure", {"name": "<saml:NameID/>"}),
    "an empty index": ("saml-structure", {"index": f"{INDEX}<samlp:SessionIndex/>"}),
    "too many indexes": ("saml-structure", {"index": INDEX * (logout._MAX_INDEXES + 1)}),
    "in the future": ("saml-future", {"issued": at(86_400)}),
    "too old": ("saml-expired", {"issued": at(-logout.MAX_AGE_SECONDS - SKEW - 30)}),
    "over": ("saml-expired", {"ends": f'NotOnOrAfter="{at(-SKEW - 30)}"'}),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGOUTS)
def test_a_logout_with_one_thing_changed_is_refused(name: str) -> None:
    expected, changes = LOGOUTS[name]
    assert reason(lambda: read(asked(**changes))) == expected


def test_a_logout_that_keeps_every_rule_is_read() -> None:
    found = read(asked(index=INDEX * logout._MAX_INDEXES, ends=f'NotOnOrAfter="{at(-SKEW + 30)}"'))
    assert (found.id, found.name_id, found.session_indexes[0], found.relay_state) == (
        "l1",
        "alice",
        "s1",
        "state",
    )
    assert len(found.session_indexes) == logout._MAX_INDEXES


def test_a_logout_that_is_long_is_not_read() -> None:
    long = "SAMLRequest=" + "x" * xml_document.MAX_ENCODED
    assert reason(lambda: logout._parameters(long)) == "saml-oversize"
    assert logout._parameters("SAMLRequest=x&&Signature=y") == {"SAMLRequest": "x", "Signature": "y"}
