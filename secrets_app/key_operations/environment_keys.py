"""Checks the key that an environment is to name, before that is stored.

settings.KEEPER_ENVIRONMENT_KEY_CHECK names `check_reference` for the use cases of environments.
"""

import logging
from typing import Final

from environments_app.errors import InvalidField
from secrets_app.errors import KeyRefused, KeyUnavailable
from secrets_app.keys.providers.registry import provider
from secrets_app.keys.wrapping import refuse_in_transaction

_log = logging.getLogger(__name__)

_NOT_ALLOWED: Final = (
    "Keeper may not use this key. Name a key that KMS_ALLOWED_KEYS allows; while that is empty, a key of the "
    "account and region of Keeper's own key."
)
_NOT_SHOWN: Final = (
    "Keeper may not look at this key. Allow kms:DescribeKey on it to Keeper's AWS identity, or name another."
)
_UNCHECKED: Final = (
    "The key could not be checked, since KMS did not answer as expected. The page Health says whether it can "
    "be used; until it can, secrets cannot be written here."
)


def check_reference(reference: str) -> str:
    """Return a warning if KMS could not be asked about the key that `reference` names, else nothing.

    A key file has no other name, so that `reference` is not looked at. Raises InvalidField if the key cannot
    wrap data keys or is not allowed, and NetworkInTransaction.
    """
    try:
        keeper = provider()
        if keeper.remote:
            refuse_in_transaction("the key of an environment is checked")
            keeper.require_usable(reference)
    except KeyRefused as error:
        raise InvalidField("kms_key_alias", _NOT_ALLOWED) from error
    except KeyUnavailable as error:
        # The ARN of a key is used without DescribeKey.
        unseen = _NOT_SHOWN if error.permission and ":key/" not in reference else ""
        if advice := error.advice or unseen:
            raise InvalidField("kms_key_alias", advice) from error
        _log.warning("the key of an environment was not checked: %s", error)
        return _UNCHECKED
    return ""
