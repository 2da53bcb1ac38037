"""What is kept: secrets, their versions, and the data keys that seal them."""

from secrets_app.models.data_key import DataKey
from secrets_app.models.secret import MAX_NAME_LENGTH, Secret, SecretVersion, version_context

__all__ = ["MAX_NAME_LENGTH", "DataKey", "Secret", "SecretVersion", "version_context"]
