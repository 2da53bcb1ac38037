"""What is kept: secrets, their versions, the data keys that seal them and the keys that wrap those."""

from secrets_app.models.data_key import DataKey
from secrets_app.models.secret import MAX_NAME_LENGTH, Secret, SecretVersion, version_context
from secrets_app.models.wrapping_key import WrappingKey

__all__ = ["MAX_NAME_LENGTH", "DataKey", "Secret", "SecretVersion", "WrappingKey", "version_context"]
