"""Makes the published vectors: `python -m secrets_app.tests.keys.vectors` writes them anew.

They are frozen. A change of a line means that stored values no longer open; a new format gets
a new file.
"""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from secrets_app.envelope import Context, PlainKey, seal_with

PATH = Path(__file__).with_name("envelope_v1.json")

_DEPLOYMENT = "00112233-4455-4677-8899-aabbccddeeff"
_SECRET = "7b0d2c1e-93f4-4a55-8e7a-0c5f6f1f2a3b"

CASES: list[dict[str, Any]] = [
    {
        "name": "a secret's version",
        "plaintext": b"correct horse battery staple".hex(),
        "label": "secret-version.value",
        "environment": "5a1f6c3e-0b6d-4a67-9d0e-2f9f8b7a6c5d",
        "parent": [UUID(_SECRET).hex, (1).to_bytes(8, "big").hex()],
    },
    {
        "name": "the same value as the next version",
        "plaintext": b"correct horse battery staple".hex(),
        "label": "secret-version.value",
        "environment": "5a1f6c3e-0b6d-4a67-9d0e-2f9f8b7a6c5d",
        "parent": [UUID(_SECRET).hex, (2).to_bytes(8, "big").hex()],
    },
    {
        "name": "one byte",
        "plaintext": "00",
        "label": "secret-version.value",
        "environment": "5a1f6c3e-0b6d-4a67-9d0e-2f9f8b7a6c5d",
        "parent": [UUID(_SECRET).hex, (2**63 - 1).to_bytes(8, "big").hex()],
    },
    {
        "name": "credentials, bound to their endpoint",
        "plaintext": '{"password":"ünïcødé"}'.encode().hex(),
        "label": "target.credentials",
        "environment": "c0ffee00-1234-4abc-8def-001122334455",
        "parent": [b"https://vault.example.com:8200".hex()],
    },
    {
        "name": "a row of the whole deployment, without a parent",
        "plaintext": bytes(range(256)).hex(),
        "label": "deployment.example",
        "environment": str(UUID(int=0)),
        "parent": [],
    },
]


def made(number: int, case: dict[str, Any]) -> dict[str, Any]:
    """Return a case with everything that it is made of, and its envelope."""
    complete = {
        **case,
        "deployment": _DEPLOYMENT,
        "row": str(UUID(int=number + 1)),
        "data_key_id": str(UUID(int=(number + 1) << 64)),
        "data_key": bytes(range(number, number + 32)).hex(),
        "salt": bytes(range(64 + number, 96 + number)).hex(),
        "nonce": bytes(range(128 + number, 140 + number)).hex(),
    }
    return {**complete, "envelope": envelope_of(complete).hex()}


def context_of(case: dict[str, Any]) -> Context:
    return Context(
        deployment=UUID(case["deployment"]),
        label=case["label"],
        row=UUID(case["row"]),
        environment=UUID(case["environment"]),
        parent=tuple(bytes.fromhex(part) for part in case["parent"]),
    )


def data_key_of(case: dict[str, Any]) -> PlainKey:
    return PlainKey(id=UUID(case["data_key_id"]), material=bytes.fromhex(case["data_key"]))


def envelope_of(case: dict[str, Any]) -> bytes:
    return seal_with(
        bytes.fromhex(case["plaintext"]),
        data_key=data_key_of(case),
        binding=context_of(case).binding,
        salt=bytes.fromhex(case["salt"]),
        nonce=bytes.fromhex(case["nonce"]),
    )


if __name__ == "__main__":
    cases = [made(number, case) for number, case in enumerate(CASES)]
    PATH.write_text(json.dumps({"format": "KPR 1.1", "vectors": cases}, indent=1) + "\n", encoding="utf-8")
