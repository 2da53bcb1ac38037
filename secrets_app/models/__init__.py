"""The models of secrets_app."""

from secrets_app.models.data_key import DataKey
from secrets_app.models.secret import Secret, SecretVersion

__all__ = ["DataKey", "Secret", "SecretVersion"]
