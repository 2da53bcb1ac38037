"""What secrets of known kinds look like. Each has a fixed beginning or frame, so that little else matches."""

import re
from collections.abc import Iterator

# A line with this mark is passed over.
ALLOWED = "kpr:allow"

# Kind → texts of which one is in each match, and the pattern, which is tried only where such a text is.
_PATTERNS: dict[str, tuple[tuple[str, ...], str]] = {
    "Keeper token": (("kpr_", "kpu_"), r"\bkp[ru]_[A-Za-z0-9_-]{22}_[A-Za-z0-9_-]{43}"),
    "private key": (
        ("PRIVATE KEY",),
        (
            r"-----BEGIN (?:[A-Z]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]|[\"'+,\\]){0,16}"
            r"(?:Proc-Type|Version:|[A-Za-z0-9+/]{16})"
        ),
    ),
    "AWS access key ID": (("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)(?![A-Z2-7]{9}EXAMPLE)[A-Z2-7]{16}\b"),
    "AWS secret access key": (
        ("aws", "AWS", "Aws"),
        r"(?i:aws.{0,20}secret.{0,20}[=:][ \t]{0,9}[\"']?)[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
    ),
    "GitHub token": (
        ("gh", "github_pat_"),
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{82})\b",
    ),
    "GitLab token": (("gl",), r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{20,}"),
    "Slack token": (("xox",), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "Slack webhook": (
        ("hooks.slack.com",),
        r"https://hooks\.slack\.com/services/T[A-Za-z0-9_]+/B[A-Za-z0-9_]+/[A-Za-z0-9_]{20,}",
    ),
    "Stripe key": (("_live_", "_test_"), r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{24,}"),
    "Google API key": (("AIza",), r"\bAIza[A-Za-z0-9_-]{35}"),
    "npm token": (("npm_",), r"\bnpm_[A-Za-z0-9]{36}\b"),
    "PyPI token": (("pypi-AgE",), r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    "SendGrid key": (("SG.",), r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    "Vault token": (("hvs.", "hvb.", "hvr."), r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}"),
    "Doppler token": (
        ("dp.",),
        r"\bdp\.(?:pt|st|sa|ct|scim|audit)\.(?:[a-z0-9_-]{1,60}\.)?[A-Za-z0-9]{40,44}",
    ),
    "OpenAI or Anthropic key": (("sk-",), r"\bsk-(?:ant|proj|svcacct)-[A-Za-z0-9_-]{40,}"),
    "password in an address": (
        ("://",),
        (
            r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>{}$]{1,64}:"
            r"(?!(?i:password|passwd|secret|changeme|example)@)[^\s:/@\"'<>{}$*%]{6,128}@[A-Za-z0-9]"
        ),
    ),
}
_COMPILED = {kind: (marks, re.compile(text)) for kind, (marks, text) in _PATTERNS.items()}


def find_patterns(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line, counted from 0, and the kind of each secret in a text."""
    for kind, (marks, pattern) in _COMPILED.items():
        if any(mark in text for mark in marks):
            for found in pattern.finditer(text):
                yield text.count("\n", 0, found.start()), kind
