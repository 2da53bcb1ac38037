"""The columns of paths and of tokens."""

from django.db import models

from core.db.columns import ExactCharField
from environments_app.names import MAX_PREFIX


def path_prefix(help_text: str, *, verbose_name: str = "path prefix") -> ExactCharField:
    """Return the column of a path that limits something to the names under it, by whole segments."""
    return ExactCharField(verbose_name, max_length=MAX_PREFIX, blank=True, default="", help_text=help_text)


def public_id_field(help_text: str) -> ExactCharField:
    """Return the column of the part of a token that identifies it."""
    return ExactCharField("public ID", max_length=22, unique=True, editable=False, help_text=help_text)


def pepper_id_field() -> "models.CharField[str, str]":
    """Return the column that names the pepper of a token's hash."""
    help_text = "Identifier of the pepper that the hash was made with. Never shown."
    return models.CharField("pepper ID", max_length=32, editable=False, help_text=help_text)


def secret_hash_field(help_text: str) -> "models.CharField[str, str]":
    """Return the column of a token's peppered hash: HMAC-SHA256 in hexadecimal."""
    return models.CharField("hash", max_length=64, editable=False, help_text=help_text)
