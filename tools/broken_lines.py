"""Breaks chosen lines of Keeper, one at a time, and proves that the suite notices each: `make broken-lines`.

A test that passes on broken code asserts nothing. Each entry names a line that people's production depends
on, what it is replaced by, and the tests that have to fail then. The tree that is broken is a copy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_TIMEOUT_SECONDS: Final = 400


@dataclass(frozen=True, kw_only=True)
class Break:
    """A line, its replacement, and the tests that notice; `beside` is a second replacement."""

    what: str
    file: str
    line: str
    broken: str
    tests: str
    beside: tuple[str, str] | None = None

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """What is replaced by what."""
        return [(self.line, self.broken), *([self.beside] if self.beside else [])]


BREAKS: Final = (
    Break(
        what="policy: a viewer may do what a reader may",
        file="environments_app/authorization/permissions.py",
        line="{Role.VIEWER: _VIEWER,",
        broken="{Role.VIEWER: _READER,",
        tests="environments_app/tests/authorization",
    ),
    Break(
        what="policy: a prefix is not looked at",
        file="environments_app/authorization/policy.py",
        line='    return grant.covers(name if action.startswith(OF_A_SECRET) or action in BY_SCOPE else "")',
        broken="    return True",
        tests="environments_app/tests/authorization",
    ),
    Break(
        what="approvals: people approve their own requests",
        file="environments_app/approvals/approvers.py",
        line="if actor.uuid in _askers(approval):",
        broken="if False:",
        tests="secrets_app/tests/services/test_four_eyes.py",
    ),
    Break(
        what="approvals: a second hat approves",
        file="environments_app/approvals/approvers.py",
        line='return ONE_PERSON if mine & behind else ""',
        broken='return ""',
        tests="environments_app/tests/authorization/test_credential_custody.py",
    ),
    Break(
        what="row MAC: every row is genuine",
        file="audit_app/integrity/row_authentication.py",
        line="        return keyring().verify(Purpose.ROW_MAC, message, bytes(self.row_mac))",
        broken="        return True",
        tests="audit_app/tests/integrity environments_app/tests/authorization/test_row_checks.py",
    ),
    Break(
        what="row MAC: every plain row is genuine",
        file="audit_app/integrity/proven_table.py",
        line='return row if keyring().verify_held(Purpose.ROW_MAC, message, row["row_mac"]) else None',
        broken="return row",
        tests="tests/integrity/test_proven_rows.py tests/api/test_recorded_read.py",
    ),
    Break(
        what="row MAC: a plain column of another type is read",
        file="audit_app/integrity/proven_table.py",
        line="        if not self._fits(tuple(map(type, stored))):",
        broken="        if False:",
        tests="audit_app/tests/integrity/test_proven_table.py sync_app/tests/applying/test_entry_rows.py",
    ),
    Break(
        what="envelope: what it is bound to is left out",
        file="secrets_app/envelope.py",
        line="AESGCM(key).encrypt(nonce, plaintext, header + binding)",
        broken="AESGCM(key).encrypt(nonce, plaintext, header)",
        beside=("envelope[:HEADER_BYTES] + binding", "envelope[:HEADER_BYTES]"),
        tests="secrets_app/tests/keys/test_envelope.py secrets_app/tests/keys/test_vectors.py",
    ),
    Break(
        what="envelope: the commitment to the key is not compared",
        file="secrets_app/envelope.py",
        line="    if not compare_digest(commitment, envelope[COMMITMENT]):",
        broken="    if False:",
        tests="secrets_app/tests/keys/test_envelope.py secrets_app/tests/keys/test_vectors.py",
    ),
    Break(
        what="keyring: the tag of another message is valid",
        file="secrets_app/keys/system_keyring.py",
        line="        return hmac.compare_digest(key.hmac_sha256(message), tag[16:])\n\n    @property",
        broken="        return True\n\n    @property",
        tests="secrets_app/tests/keys/test_keyring.py",
    ),
    Break(
        what="tokens: a revoked one is taken",
        file="environments_app/tokens/authentication.py",
        line="    if token.revoked_at is not None:\n        raise BadToken",
        broken="    if False:\n        raise BadToken",
        tests="environments_app/tests/tokens environments_app/tests/authentication/test_drf.py",
    ),
    Break(
        what="tokens: the secret is not compared",
        file="environments_app/tokens/authentication.py",
        line='    if not hmac.compare_digest((given or "").encode(), stored.encode()) or not given:',
        broken="    if not given:",
        tests="environments_app/tests/tokens environments_app/tests/authentication/test_drf.py",
    ),
    Break(
        what="tokens: their networks are not looked at",
        file="environments_app/tokens/authentication.py",
        line="    if not is_from(address, token.cidrs):",
        broken="    if False:",
        tests="environments_app/tests/tokens environments_app/tests/authentication/test_drf.py",
    ),
    Break(
        what="read engine: the policy is not asked",
        file="gateway_app/engine/reads.py",
        line="    if secret is None or not allows(",
        broken="    if secret is None or False and not allows(",
        tests="tests/api/test_recorded_read.py",
    ),
    Break(
        what="browsers: no CSRF token is asked for",
        file="environments_app/authentication/drf.py",
        line='    """A signed-in browser, with CSRF enforced by DRF\'s own rule."""',
        broken='    """None is asked for."""\n\n    def enforce_csrf(self, request: Request) -> None:\n        """Let pass."""',
        tests="environments_app/tests/authentication/test_drf.py secrets_app/tests/test_api_secrets.py",
    ),
    Break(
        what="audit log: the hash of an event is not computed again",
        file="audit_app/crypto/hash_chain.py",
        line="    fits = event_hash(previous, canonical) == link.hash",
        broken="    fits = True",
        tests="audit_app/tests/crypto audit_app/tests/verification",
    ),
    Break(
        what="audit log: a receipt that may be rolled back opens values",
        file="audit_app/recording/drafts.py",
        line="        self._committed = committed",
        broken="        self._committed = True",
        tests="audit_app/tests/recording secrets_app/tests/keys/test_fields.py",
    ),
    Break(
        what="audit log: a head that moved is moved all the same",
        file="audit_app/recording/event_store.py",
        line="    return all(write(database, move_head, _moved(move))[0] == 1 for move in moves)",
        broken="    return all(write(database, move_head, _moved(move))[0] >= 0 for move in moves)",
        tests="audit_app/tests/recording",
    ),
    Break(
        what="writes: of two who read the same state both win",
        file="secrets_app/rows/store.py",
        line='    writes = [prepared.change(secret, changed, unless_changed="revision", was=revision)]',
        broken='    writes = [prepared.change(secret, changed, unless_changed="id", was=secret.pk)]',
        tests="secrets_app/tests/rows secrets_app/tests/services/test_write.py",
    ),
    Break(
        what="reconcile: it deletes where deletion is off",
        file="sync_app/domain/reconciliation.py",
        line="    if rules.deletion is Deletion.NEVER:",
        broken="    if False:",
        tests="sync_app/tests/domain",
    ),
    Break(
        what="reconcile: it updates what is not Keeper's",
        file="sync_app/domain/reconciliation.py",
        line="    if rules.direction is Direction.PUSH and not item.owned:",
        broken="    if False:",
        tests="sync_app/tests/domain",
    ),
    Break(
        what="reconcile: it deletes after a list that was not read to its end",
        file="sync_app/domain/reconciliation.py",
        line="    if unreadable or not (coverage.keeper and coverage.target):",
        broken="    if unreadable:",
        tests="sync_app/tests/domain",
    ),
    Break(
        what="reconcile: the budget forgets what was deleted before",
        file="sync_app/domain/reconciliation.py",
        line="        return self.withdrawn + deleted <= self._limit(owned)",
        broken="        return deleted <= self._limit(owned)",
        tests="sync_app/tests/domain",
    ),
    Break(
        what="runs: a worker writes on after it lost its lease",
        file="sync_app/jobs/leases.py",
        line='        if not changed:\n            raise LeaseLost("another worker carries this run on")',
        broken='        if False:\n            raise LeaseLost("another worker carries this run on")',
        tests="sync_app/tests/applying/recovery/test_resilience.py sync_app/backends/vault/tests/applying/test_overtaken.py",
    ),
    Break(
        what="Vault: a write does not say which version it follows",
        file="sync_app/backends/vault/writes.py",
        line='        body = {"data": content, "options": {"cas": cas}}',
        broken='        body = {"data": content}',
        tests="sync_app/backends/vault/tests sync_app/tests/backends",
    ),
    Break(
        what="KV v2: the version that a client names is not compared",
        file="gateway_app/kv2/data.py",
        line="        if cas is not None and cas != last:",
        broken="        if False and cas != last:",
        tests="gateway_app/tests/kv2/test_protocol.py",
    ),
    Break(
        what="rotation: the previous password ends while a consumer uses it",
        file="sync_app/rotation/execution/steps.py",
        line="        if policy.waits_for_consumers and (slow := find_unacknowledged(policy.secret)):",
        broken="        if False and (slow := find_unacknowledged(policy.secret)):",
        tests="sync_app/tests/rotation/test_delivery.py sync_app/tests/rotation/policies/test_api.py",
    ),
    Break(
        what="outbound: private addresses are reached",
        file="core/network/outbound.py",
        line="    return encrypted and ip.is_global and not ip.is_multicast",
        broken="    return True",
        tests="core/tests/network/test_outbound.py",
    ),
    Break(
        what="SAML: one audience among several restrictions is enough",
        file="environments_app/saml/protocol/assertion_rules.py",
        line="any(expected.audience not in audience for audience in audiences)",
        broken="all(expected.audience not in audience for audience in audiences)",
        tests="tests/people/test_saml.py",
    ),
    Break(
        what="SAML: a person may have signed in in the future",
        file="environments_app/saml/protocol/assertion_rules.py",
        line="    if signed_in_at > now + expected.skew:",
        broken="    if False:",
        tests="tests/people/test_saml.py",
    ),
    Break(
        what="SAML: one id in two elements",
        file="environments_app/saml/protocol/xml_document.py",
        line="    if any(count > 1 for count in ids.values()):",
        broken="    if False:",
        tests="tests/people/test_saml.py",
    ),
    Break(
        what="SAML: another element is verified than the one that is judged",
        file="environments_app/saml/djangosaml2_views.py",
        line="        if verified != (ours.response_id, ours.assertion_id, ours.name_id):",
        broken="        if False:",
        tests="tests/people/test_saml.py",
    ),
    Break(
        what="SAML: an assertion taken by a clock ahead stays open",
        file="environments_app/saml/protocol/replay_guard.py",
        line="stored.finished_at or not is_in(ends, within=timedelta(seconds=_HANDLE_SECONDS))",
        broken="stored.finished_at or timezone.now() >= ends",
        tests="tests/people/test_saml.py",
    ),
    Break(
        what="SAML: a key of another role or entity signs",
        file="environments_app/saml/metadata.py",
        line="[each for each in entity if each.tag != _ROLE]",
        broken="[]",
        tests="tests/people/test_saml.py",
    ),
    Break(
        what="SAML: a session without an index outlives its logout",
        file="environments_app/sessions/service.py",
        line='return not indexes or not kept["session_index"] or kept["session_index"] in indexes',
        broken='return not indexes or kept["session_index"] in indexes',
        tests="tests/people/test_saml.py",
    ),
    Break(
        what="kept copy: it is bound to no version",
        file="sync_app/models/kept_copy.py",
        line=", str(self.version).encode()),",
        broken="),",
        tests="sync_app/backends/vault/tests/applying/test_put_back_later.py",
    ),
    Break(
        what="redaction: one kind of a Vault token",
        file="keeper_project/observability/redaction.py",
        line="(hv[sbr]\\.)",
        broken="(hv[s]\\.)",
        tests="keeper_project/tests/observability/test_redaction.py",
    ),
    Break(
        what="kpr: a value that begins in another at the end of a read",
        file="client/kpr/running/masking.py",
        line="if not is_end and self._undecided(text) > len(text) - end:",
        broken="if False:",
        tests="client/kpr/tests/running/test_masking.py",
    ),
    Break(
        what="pagination: backwards over NULLs",
        file="core/pagination.py",
        line='same | Q(**{f"{field}__isnull": False}) if cursor.backwards else same',
        broken="same",
        tests="keeper_project/tests/http/test_pagination.py",
    ),
    Break(
        what="list polls: the state of one token serves another",
        file="gateway_app/engine/reads.py",
        line="key = (environment.uuid, actor.grants, poll.prefix, poll.form)",
        broken="key = (environment.uuid, poll.prefix, poll.form)",
        tests="tests/api/test_list_polls.py",
    ),
    Break(
        what="ETag: an old session learns that nothing changed",
        file="secrets_app/queries/states.py",
        line="    require_confirmed(actor)",
        broken="    pass",
        tests="secrets_app/tests/queries/test_states.py",
    ),
    Break(
        what="offline verifier: a cut counts that no signed head covers",
        file="docs/verify_offline.py",
        line="if not covered or cut.sequence > covered.sequence]",
        broken="if False]",
        tests="audit_app/tests/retention/test_tampered_bundles.py",
    ),
    Break(
        what="offline verifier: an event of another hash than the signed head",
        file="docs/verify_offline.py",
        line='        elif named and named.link != line["hash"]:\n            self.damage = ("forked", expected,',
        broken='        elif False:\n            self.damage = ("forked", expected,',
        tests="audit_app/tests/retention/test_tampered_bundles.py",
    ),
    Break(
        what="verification: retention in the meantime is damage",
        file="audit_app/verification/stream_verifier.py",
        line="        if not found or newest_cut(stream) == cut:",
        broken="        if True:",
        tests="audit_app/tests/retention/test_live_export.py",
    ),
    Break(
        what="approvals: an environment protected at the last moment takes a change without approval",
        file="environments_app/approvals/gate.py",
        line="        if self._approval is None and not self._settled and _PROTECTED.first(environment.pk):",
        broken="        if False:",
        tests="secrets_app/tests/services/test_four_eyes.py",
    ),
    Break(
        what="approvals: one whose time ended at the last moment is spent",
        file="environments_app/approvals/gate.py",
        line="    if approval.state != ApprovalState.APPROVED or not approval.is_live:",
        broken="    if approval.state != ApprovalState.APPROVED:",
        tests="secrets_app/tests/services/test_four_eyes.py",
    ),
    Break(
        what="approvals: one person approves by two accounts",
        file="environments_app/approvals/service.py",
        line="    if actor.uuid in given or CustodyGraph().are_one(actor.uuid, given, environment=environment):",
        broken="    if actor.uuid in given:",
        tests="environments_app/tests/approvals/test_several.py",
    ),
    Break(
        what="custody: a later confirmation counts for what was asked before",
        file="environments_app/authorization/credential_custody.py",
        line="if place in here and event <= until)",
        broken="if place in here)",
        tests="environments_app/tests/authorization/test_credential_custody.py",
    ),
    Break(
        what="trusts: two first sign-ins have two owners",
        file="environments_app/trusts/sign_in.py",
        line='        if stored.pinned not in {"", value}:',
        broken="        if False:",
        tests="environments_app/tests/trusts/test_sign_in.py",
    ),
    Break(
        what="tokens: two programs redeem one code",
        file="environments_app/tokens/loopback.py",
        line="    if row is None or not DeviceSignIn.objects.filter(pk=row.pk).delete()[0]:",
        broken="    if row is None or not DeviceSignIn.objects.filter(pk=row.pk).delete():",
        tests="environments_app/tests/tokens/test_loopback.py",
    ),
    Break(
        what="second factor: a code counts twice",
        file="environments_app/authentication/second_factor.py",
        line="last_step__lt=matched",
        broken="last_step__lte=matched",
        tests="environments_app/tests/authentication/test_mfa.py",
    ),
    Break(
        what="row state: a clock decides within a stream",
        file="audit_app/integrity/row_state.py",
        line="            return self.sequence > other.sequence\n",
        broken="            return self.at > other.at\n",
        tests="secrets_app/tests/services/test_replay.py",
    ),
    Break(
        what="checkpoints: each worker tells of one loss",
        file="audit_app/checkpoints/signing.py",
        line="SinkState.objects.filter(name=loss.sink, position=loss.taken)",
        broken="SinkState.objects.filter(name=loss.sink)",
        tests="audit_app/tests/crypto/test_checkpoint_statement.py",
    ),
    Break(
        what="shares: one that was revoked meanwhile opens",
        file="secrets_app/services/share.py",
        line="filter(_in_time(), pk=share.pk, opened_at=None, revoked_at=None).update(",
        broken="filter(_in_time(), pk=share.pk, opened_at=None).update(",
        tests="secrets_app/tests/services/test_share.py",
    ),
    Break(
        what="read engine: the key of another environment opens",
        file="gateway_app/engine/reads.py",
        line="        if key is None or key.scope != self.secret.environment.uuid:",
        broken="        if key is None:",
        tests="tests/api/test_recorded_read.py",
    ),
    Break(
        what="versions: a number is given to two values",
        file="secrets_app/rows/store.py",
        line="                if first_number(secret.environment, secret.name) > version.number:",
        broken="                if False:",
        tests="secrets_app/tests/values/test_first_numbers.py",
    ),
    Break(
        what="adoption: a secret that another Keeper has marked since the plan",
        file="sync_app/applying/item_actions.py",
        line="        now.mark.deployment != job.mark.deployment or now.mark.target in job.other_targets\n",
        broken="        now.mark.target in job.other_targets\n",
        tests="sync_app/tests/applying/ownership/test_ownership_lost.py",
    ),
    Break(
        what="sync: an old look is disbelieved for one pass more",
        file="sync_app/state/ownership.py",
        line="entry.undelivered >= PASSES_UNTIL_ALERT:",
        broken="entry.undelivered > PASSES_UNTIL_ALERT:",
        tests="sync_app/backends/vault/tests/applying/test_lagging_reads.py",
    ),
    Break(
        what="Parameter Store: what came after ours is written over",
        file="sync_app/backends/aws/parameter_history.py",
        line='    if now is not None and now["Version"] == ours["Version"]:',
        broken="    if now is not None:",
        tests="sync_app/backends/aws/tests/test_parameter_store.py",
    ),
    Break(
        what="kpr: a write is sent again",
        file="client/kpr/api.py",
        line='            if method == "GET" and not last',
        broken="            if not last",
        tests="client/kpr/tests/test_api.py",
    ),
    Break(
        what="approvals: one is consumed by two acts at once",
        file="environments_app/approvals/gate.py",
        line="            if not (self._spent and stored.state == ApprovalState.EXECUTED):",
        broken="            if stored.state != ApprovalState.EXECUTED:",
        tests="environments_app/tests/approvals/test_approvers.py",
    ),
    Break(
        what="rotation: a fence holds though the act may outlast the lease",
        file="sync_app/rotation/execution/session.py",
        line="until - database_now() >= timedelta(seconds=FENCE_SECONDS)",
        broken="until >= database_now()",
        tests="sync_app/tests/rotation/test_lease.py",
    ),
    Break(
        what="trusts: a used token is forgotten while the leeway accepts it",
        file="environments_app/trusts/sign_in.py",
        line="timedelta(seconds=2 * LEEWAY_SECONDS)",
        broken="timedelta()",
        tests="environments_app/tests/trusts/test_sign_in.py",
    ),
    Break(
        what="approvals: a grant of one environment is consumed in another",
        file="environments_app/approvals/gate.py",
        line="        if environment.pk != self._environment_id:",
        broken="        if False:",
        tests="environments_app/tests/approvals/test_gate.py",
    ),
    Break(
        what="approvals: an approver who is off by now still counts",
        file="environments_app/approvals/gate.py",
        line="    if not approver_still_eligible(approval):\n        raise",
        broken="    if False:\n        raise",
        tests="environments_app/tests/approvals/test_gate.py",
    ),
    Break(
        what="approvals: requests without end wait",
        file="environments_app/approvals/gate.py",
        line="    if waiting.count() >= _MAX_OPEN:",
        broken="    if False:",
        tests="environments_app/tests/approvals/test_gate.py",
    ),
    Break(
        what="approvals: a comment is an approval",
        file="environments_app/approvals/approvers.py",
        line="filter(approval=approval, kind=EntryKind.APPROVAL)",
        broken="filter(approval=approval)",
        tests="environments_app/tests/approvals/test_several.py",
    ),
    Break(
        what="approvals: a suspended administrator approves",
        file="environments_app/approvals/approvers.py",
        line="administers = actor.is_admin and trusted and",
        broken="administers = actor.is_admin and",
        tests="environments_app/tests/approvals/test_approvers.py tests/access/test_role_state_credential.py",
    ),
    Break(
        what="approvals: the schedule applies what its requester holds",
        file="environments_app/approvals/applying.py",
        line='        held="",\n',
        broken="",
        tests="tests/approvals/test_applied_on_approval.py",
    ),
    Break(
        what="memberships: a role is widened in an environment that is protected since",
        file="environments_app/environments/memberships.py",
        line="            if approval is None and _needs_approval(actor, stored, changes):",
        broken="            if False:",
        tests="environments_app/tests/environments/test_meanwhile.py",
    ),
    Break(
        what="environments: the protection of a moment ago ends without approval",
        file="environments_app/environments/service.py",
        line="        if approval is None and _weakens(actor, stored, changes):",
        broken="        if False:",
        tests="environments_app/tests/environments/test_meanwhile.py",
    ),
    Break(
        what="trusts: one is widened in an environment that is protected since",
        file="environments_app/trusts/service.py",
        line="needs_second_person(actor, stored.environment)",
        broken="needs_second_person(actor, environment)",
        tests="environments_app/tests/environments/test_meanwhile.py",
    ),
    Break(
        what="trusts: a piece between two stars may be missing",
        file="environments_app/trusts/jwt/rules.py",
        line="        if found < 0:\n            return False\n",
        broken="",
        tests="environments_app/tests/trusts/test_claim_patterns.py",
    ),
    Break(
        what="restores: what another restore suspended is released",
        file="environments_app/environments/restore_suspension.py",
        line="            if getattr(stored, self._field) != since:",
        broken="            if False:",
        tests="environments_app/tests/environments/test_meanwhile.py",
    ),
    Break(
        what="tokens: a suspended one of a person is taken",
        file="environments_app/tokens/personal.py",
        line="    if token.suspended_at is not None:",
        broken="    if False:",
        tests="environments_app/tests/tokens/test_states.py",
    ),
    Break(
        what="tokens: one that administers begins a session",
        file="environments_app/tokens/bearers.py",
        line="    if not bearer_of(raw, address=address, request_id=request_id).grants:",
        broken="    if False:",
        tests="environments_app/tests/tokens/test_states.py",
    ),
    Break(
        what="tokens: a narrowed one of an auditor sees the installation",
        file="environments_app/authorization/policy.py",
        line="replace(self, is_admin=False, is_auditor=False, grants=grants",
        broken="replace(self, is_admin=False, grants=grants",
        tests="tests/access/test_role_state_credential.py tests/access/test_own_events.py tests/access/test_auditor.py",
    ),
    Break(
        what="sign-in: a session starts without the second factor",
        file="environments_app/authentication/sign_in.py",
        line="    if user.second_factor is not None and shown is None:",
        broken="    if False:",
        tests="environments_app/tests/authorization/test_own_acts.py",
    ),
    Break(
        what="SAML: another person confirms a session",
        file="environments_app/saml/endpoints.py",
        line="    if not same or user is None or str(user.uuid) != pending.again:",
        broken="    if user is None:",
        tests="tests/people/test_saml.py",
    ),
    Break(
        what="SAML: a signature besides the two",
        file="environments_app/saml/protocol/xml_document.py",
        line="    if sum(element.tag",
        broken="    if False and sum(element.tag",
        tests="environments_app/tests/saml/test_protocol.py",
    ),
    Break(
        what="SAML: a condition that Keeper does not know",
        file="environments_app/saml/protocol/assertion_rules.py",
        line="    if any(child.tag not in known for child in conditions):",
        broken="    if False:",
        tests="environments_app/tests/saml/test_protocol.py",
    ),
    Break(
        what="retention: a bundle ends before what the checkpoint names",
        file="audit_app/retention/bundles.py",
        line="            if self._heads.get(stream, self._start(stream)) != head:",
        broken="            if False:",
        tests="audit_app/tests/retention/test_bundle_reader.py",
    ),
    Break(
        what="retention: more goes than is recorded",
        file="audit_app/retention/prune.py",
        line="        if event_store.remove(ids) != len(going):",
        broken="        if not event_store.remove(ids):",
        tests="audit_app/tests/retention/test_audit_prune.py",
    ),
    Break(
        what="checkpoints: one that does not follow the one before",
        file="audit_app/checkpoints/signing.py",
        line="        if said.previous != previous:",
        broken="        if False:",
        tests="audit_app/tests/crypto/test_checkpoint_statement.py",
    ),
    Break(
        what="KV v2: what is written after the comparison is written over",
        file="gateway_app/kv2/data.py",
        line="        expected = secret.etag if secret and cas is not None else None",
        broken="        expected = None",
        tests="gateway_app/tests/kv2/test_numbers.py",
    ),
    Break(
        what="sync: a value that the plan did not show is taken",
        file="sync_app/applying/item_actions.py",
        line="    if copy is None or copy.metadata.version != job.expected.version:",
        broken="    if copy is None:",
        tests="sync_app/tests/applying/test_item_actions.py",
    ),
    Break(
        what="rotation: the value before ends without a login by the served one",
        file="sync_app/rotation/execution/steps.py",
        line="    session.lease.renew()\n    session.require_login(secret.current_number, what=_SERVED)\n    current = session.value(secret.current_number)\n    rotator.retire(",
        broken="    session.lease.renew()\n    current = session.value(secret.current_number)\n    rotator.retire(",
        tests="sync_app/tests/rotation/test_through.py",
    ),
)


def misplaced() -> list[str]:
    """Return what is broken nowhere or at several places, because the code has changed."""
    return [
        f"{each.what}: {line!r} is {count} times in {each.file}"
        for each in BREAKS
        for line, _ in each.replacements
        if (count := (ROOT / each.file).read_text().count(line)) != 1
    ]


def main() -> int:
    """Break the lines whose description holds each given word; print what noticed; 1 if something did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="words of the descriptions (all lines)")
    words = parser.parse_args().words
    if drift := misplaced():
        sys.stderr.write("\n".join(drift) + "\n")
        return 1
    wanted = [each for each in BREAKS if all(word in each.what for word in words)]
    with tempfile.TemporaryDirectory(prefix="keeper-broken-") as directory:
        tree = _copy(Path(directory))
        failing = [tests for tests in sorted({each.tests for each in wanted}) if _run(tree, tests) != 0]
        if failing:
            sys.stderr.write("these fail before anything is broken:\n" + "\n".join(failing) + "\n")
            return 1
        unnoticed = [each for each in wanted if not _is_noticed(tree, each)]
    sys.stdout.write(f"{len(wanted) - len(unnoticed)} of {len(wanted)} noticed\n")
    return 1 if unnoticed else 0


def _copy(directory: Path) -> Path:
    """Return a copy of the tree, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    tree = directory / "keeper"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def _is_noticed(tree: Path, broken: Break) -> bool:
    """Run the tests of a break on the broken tree; a run that cannot begin notices nothing."""
    path = tree / broken.file
    whole = path.read_text()
    text = whole
    for line, replacement in broken.replacements:
        text = text.replace(line, replacement)
    path.write_text(text)
    try:
        code = _run(tree, broken.tests)
    finally:
        path.write_text(whole)
    # 1 is that of tests that failed; any other means that they did not run.
    noticed = code == 1
    found = "noticed" if noticed else f"NOT NOTICED (pytest ended with {code})"
    sys.stdout.write(f"{found}: {broken.what}\n")
    sys.stdout.flush()
    return noticed


def _run(tree: Path, tests: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    done = subprocess.run(
        command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, timeout=_TIMEOUT_SECONDS,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
