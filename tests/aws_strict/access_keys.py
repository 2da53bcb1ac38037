"""Access keys as AWS treats them: inactive and deleted ones are refused; moto takes every key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_CALLER = re.compile(r"Credential=([^/]+)/")


@dataclass
class AccessKeys:
    """What became of the keys that went through the strict layer."""

    # How many requests with a new key are refused before AWS knows it everywhere.
    propagation: int = 0
    _refused: set[str] = field(default_factory=set)
    _settling: dict[str, int] = field(default_factory=dict)

    def refuses(self, authorization: str) -> bool:
        """Say whether a request is signed with a key that AWS does not take, or not yet."""
        found = _CALLER.search(authorization)
        key = found[1] if found else ""
        if self._settling.get(key, 0) > 0:
            self._settling[key] -= 1
            return True
        return key in self._refused

    def observe(self, operation: str, form: Mapping[str, str], body: str) -> None:
        """Take note of a request that moto carried out."""
        if operation == "CreateAccessKey":
            made = re.search(r"<AccessKeyId>(\w+)</AccessKeyId>", body)
            if made:
                self._settling[made[1]] = self.propagation
        elif operation == "DeleteAccessKey" or form.get("Status") == "Inactive":
            self._refused.add(form.get("AccessKeyId", ""))
        elif operation == "UpdateAccessKey":
            self._refused.discard(form.get("AccessKeyId", ""))
