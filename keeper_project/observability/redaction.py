"""Takes credentials out of a finished log line: the last resort, after never logging them."""

import re
from typing import Final

from structlog.typing import EventDict, WrappedLogger

REDACTED: Final = "[redacted]"

# The public id of a service token names it in the audit log, so it stays; its secret does not.
_TOKEN: Final = re.compile(r"(kpr_[A-Za-z0-9_-]{22}_)[A-Za-z0-9_-]+")
# Something that is no whole token may be a piece of one.
_PIECE_OF_TOKEN: Final = re.compile(r"kpr_(?![A-Za-z0-9_-]{22}_\[)[A-Za-z0-9_-]{8,}")
# A header's value runs to the end of its line or of the string that quotes it.
_HEADER: Final = re.compile(
    r"""((?:proxy-)?authorization|cookie|x-vault-token|x-amz-security-token)
        (\\?["']?\s*[:=,]\s*\\?["']?)
        [^\r\n"'\\]+""",
    re.IGNORECASE | re.VERBOSE,
)
# The password of a URL, as those of databases and brokers have it.
_URL: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@\"']*:)(?!\*+@)[^\s@/\"']+(?=@)", re.IGNORECASE)
# HashiCorp's and OpenBao's tokens name their kind.
_VAULT: Final = re.compile(r"\b(hv[sbr]\.)[A-Za-z0-9_-]{16,}")
_PRIVATE_KEY: Final = re.compile(
    r"""(-----BEGIN\ [A-Z0-9\ ]{0,30}PRIVATE\ KEY-----)[^"']*?(-----END\ |(?=["'])|\Z)""", re.VERBOSE
)
# The path of a link that shares a value once, also inside another address, as after `next=`. A program may
# encode the `#` before a code for somebody outside, and so send what no browser does.
_SHARED: Final = re.compile(
    r"((?:/|%(?:25)*2F)shared(?:/|#|%(?:25)*2[3F])+)[A-Za-z0-9_-]{20,}", re.IGNORECASE
)
# What a link to choose a password has behind its path. No browser sends it; a person may paste it anywhere.
_CHOOSE: Final = re.compile(r"(set-password(?:#|%(?:25)*23))[A-Za-z0-9_-]{20,}", re.IGNORECASE)
_SCHEME: Final = re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{16,}", re.IGNORECASE)


def redact(text: str) -> str:
    """Return a text without tokens, credential headers, URLs' passwords, links that share, and keys."""
    text = _HEADER.sub(rf"\1\2{REDACTED}", text)
    text = _SCHEME.sub(rf"\1\2{REDACTED}", text)
    text = _URL.sub(rf"\1{REDACTED}", text)
    text = _SHARED.sub(rf"\1{REDACTED}", text)
    text = _CHOOSE.sub(rf"\1{REDACTED}", text)
    text = _VAULT.sub(rf"\1{REDACTED}", text)
    text = _PRIVATE_KEY.sub(rf"\1{REDACTED}\2", text)
    text = _TOKEN.sub(rf"\1{REDACTED}", text)
    return _PIECE_OF_TOKEN.sub(f"kpr_{REDACTED}", text)


def redact_line(_logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
    """Redact a rendered line: structlog's last processor, after the renderer."""
    return redact(str(line))
