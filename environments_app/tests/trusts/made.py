"""Trusts for tests: of our own issuer, with its keys pasted."""

from typing import Any

from environments_app.models import Environment, Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.trusts import service


def make_trust(cast: Cast, signer: Issuer, **fields: Any) -> Trust:
    """Create a trust in production as alice, who manages it."""
    given: dict[str, Any] = {
        "environment": cast.production, "preset": "oidc", "name": "ci", "issuer": signer.url,
        "jwks": signer.jwks(), "audience": "https://keeper.test", "algorithm": signer.algorithm,
        "claims": {"sub": "a-service"}, "role": "reader",
    }  # fmt: skip
    environment: Environment = (given | fields)["environment"]
    actor = cast.principal(cast.alice)
    return service.create(actor=actor, **given | fields | {"environment": environment})
