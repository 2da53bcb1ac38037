"""Rotates keys at any depth: AWS's own, other keys for data keys, new data keys, new system keys.

New system keys authenticate what is written from now on; old ones still verify.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit_app.events import streams
from audit_app.interfaces import Purpose, keyring
from environments_app.authentication.second_factor import reseal_seeds
from environments_app.event_sinks import reseal_sink_secrets
from environments_app.oidc.client_keys import reseal_client_keys
from environments_app.oidc.providers import reseal_secrets
from secrets_app.envelope import NO_ENVIRONMENT
from secrets_app.errors import KeyRefused, KeyUnavailable, MigrationMoved, RotationSuperseded
from secrets_app.key_operations.reencrypt import reencrypt
from secrets_app.key_operations.rewrap import Scope, rewrap, scopes
from secrets_app.keys.models import DataKey
from secrets_app.keys.providers.registry import provider, with_extended_timeout
from secrets_app.keys.system_keyring import SystemKeyring
from secrets_app.keys.wrapping import record_creation, refuse_in_transaction, require_current_wrap, wrap_new


def replace_system_keys() -> int:
    """Make a new system key of every purpose, all or none, and return how many.

    Their events are authenticated by the keys before them, so that the chain has no gap. Other
    processes write under theirs until they notice. Raises KeyUnavailable or KeyRefused if the keys
    cannot be made, KeyringUnavailable if the old ones do not open.
    """
    refuse_in_transaction("system keys are made")
    keyring().open_all()
    key_uri = provider().resolve("")
    rows = [wrap_new(environment=None, purpose=purpose, key_uri=key_uri)[0] for purpose in Purpose]
    try:
        with transaction.atomic():
            for row in rows:
                require_current_wrap(row)
                active = DataKey.objects.filter(scope=NO_ENVIRONMENT, purpose=row.purpose, active=True)
                replaced = active.values_list("uuid", flat=True).first()
                active.update(active=None, retired_at=timezone.now())
                row.save(force_insert=True)
                record_creation(
                    row, stream=streams.SYSTEM, name=row.purpose, replaces=replaced, reason="rotation"
                )
    except MigrationMoved:
        return replace_system_keys()
    keys = keyring()
    if isinstance(keys, SystemKeyring):
        keys.refresh()
    return len(rows)


# A long run waits out what passes.
PATIENCE_SECONDS: Final = 60.0
# Arguments: the scope's name, the number done, the total, and the kind.
Progress = Callable[[str, int, int, str], None]


@dataclass(kw_only=True)
class ScopeResult:
    """What was done to the keys of one environment, or of the system, and what could not be done."""

    name: str
    key_uri: str = ""
    system_keys_replaced: int = 0
    second_factors_resealed: int = 0
    data_key: str = ""
    values_resealed: int = 0
    credentials_resealed: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def replace_keys(self, scope: Scope, progress: Progress, batch_size: int = 0) -> None:
        """Make new data keys, and seal under them what the previous ones sealed.

        Raises what `reencrypt` and `replace_system_keys` raise.
        """
        if scope.environment is None:
            self.system_keys_replaced = replace_system_keys()
            self.second_factors_resealed, broken = reseal_seeds()
            self.problems += [*broken, *reseal_secrets(), *reseal_sink_secrets(), *reseal_client_keys()]
            return
        result = reencrypt(
            scope.environment,
            batch_size=batch_size,
            progress=lambda done, total: progress(self.name, done, total, "values re-sealed"),
        )
        if result:
            self.data_key, self.values_resealed = str(result.data_key), result.values
            self.credentials_resealed = result.credentials
            self.problems += result.broken.values()

    def replaced(self) -> Iterator[str]:
        if self.data_key:
            yield (
                f"{self.values_resealed:,} values and {self.credentials_resealed:,} credentials "
                f"re-sealed under data key {self.data_key}"
            )
        if self.system_keys_replaced:
            yield f"{self.system_keys_replaced} system keys replaced"
            yield f"{self.second_factors_resealed} second factors re-sealed"

    def lines(self, done: Sequence[str], *further: str) -> str:
        problems = (f"  PROBLEM: {problem}" for problem in self.problems)
        return "\n".join([f"{self.name}: {self.key_uri or 'no key'}: {', '.join(done)}", *further, *problems])


@dataclass(kw_only=True)
class Rotation(ScopeResult):
    """What a rotation did for one environment, or for the system keys, and what it could not do."""

    rotation_turned_on: bool = False
    data_keys_rewrapped: int = 0

    def text(self) -> str:
        done = [f"{self.data_keys_rewrapped:,} data keys re-wrapped", *self.replaced()]
        if self.rotation_turned_on:
            done.append("AWS's own rotation turned on")
        return self.lines(done)


def rotations(
    *, environment: str = "", key: str = "", reencrypt: bool = False, progress: Progress
) -> Iterator[Rotation]:
    """Rotate everything, one environment, or what one key wraps (by ARN, id or alias).

    Data keys that another key still wraps are wrapped under the configured one. With `reencrypt`
    environments get new data keys first, under which their values are sealed, and the system keys are
    replaced. With ENABLE_KMS_KEY_ROTATION the keys' own rotation is turned on. Raises KeyUnavailable or
    KeyRefused if `key` is none, or wraps no data key, KeyringUnavailable if the audit log's keys do not
    open.
    """
    keyring().open_all()
    under = provider().resolve(key) if key else ""
    if under and not DataKey.objects.filter(key_uri=under).exists():
        raise KeyRefused(
            f"{under} wraps no data key: nothing was rotated. `kms key-info` lists the keys in use"
        )
    wrapped = set(DataKey.objects.filter(key_uri=under).values_list("scope", flat=True)) if under else None
    for scope in scopes(environment):
        if wrapped is not None and scope.uuid not in wrapped:
            continue
        rotation = Rotation(name=scope.name)
        try:
            with with_extended_timeout(PATIENCE_SECONDS):
                _rotate(rotation, scope, under, reencrypt=reencrypt, progress=progress)
        except (KeyUnavailable, KeyRefused, RotationSuperseded) as error:
            rotation.problems.append(str(error))
        yield rotation


def _rotate(rotation: Rotation, scope: Scope, under: str, *, reencrypt: bool, progress: Progress) -> None:
    rotation.key_uri = scope.key_uri
    if settings.ENABLE_KMS_KEY_ROTATION:
        try:
            rotation.rotation_turned_on = provider().enable_automatic_rotation(rotation.key_uri)
        except KeyUnavailable as error:
            # Some keys cannot rotate automatically; they wrap the data keys anyway.
            rotation.problems.append(str(error))
    if reencrypt:
        # Before the old data keys are re-wrapped: until then `under` still finds an interrupted run.
        rotation.replace_keys(scope, progress)
    rows = scope.data_keys().exclude(key_uri=scope.key_uri)
    total = (rows.filter(key_uri=under) if under else rows).count()
    for done, rewrapped in enumerate(rewrap(scope, under=under), 1):
        if rewrapped.problem:
            rotation.problems.append(rewrapped.problem)
        else:
            rotation.data_keys_rewrapped += 1
        progress(scope.name, done, total, "data keys re-wrapped")
