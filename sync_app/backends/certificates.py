"""Certificates that a target's owner enters."""

import ssl

from sync_app.errors import BadDestination


def refuse_unreadable(ca: str) -> None:
    """Raise BadDestination for what is no certificate in PEM; nothing is none of them."""
    try:
        if ca:
            ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise BadDestination("enter certificates in PEM", field="ca_certificate") from None
