"""CEF and OCSF of every action, and of names that try to be more than a name."""

import json
import re
from typing import Any
from uuid import UUID

import pytest

from audit_app.crypto.hash_chain import EventFields, Link
from audit_app.events.actions import Action, Outcome
from audit_app.sinks.formats import CLASSES, cef_line, json_line, ocsf_line

_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\=": "=", "\\\\": "\\"}
HOSTILE = [
    "plain",
    "a|b|c",
    "a=b c=d",
    "back\\slash\\",
    "line\nbreak\r\nCEF:0|forged|x|1|x|x|1|act=none",
    "nul\x00 bell\x07 c1\x9b",
    "\u202eright to left",
    "\u2028separated",
    " spaces ",
    "=",
    "é" * 2_000,
    "😀" * 400,
]


def link(**changed: Any) -> Link:
    fields: dict[str, Any] = {
        "uuid": UUID(int=5).hex, "stream": "environment:a", "sequence": 4711,
        "at": "2026-11-30T08:10:45.898158+00:00", "actor_kind": "user", "actor_uuid": UUID(int=1).hex,
        "actor_name": "alice", "action": Action.SECRET_REVEAL.value, "object_kind": "secret",
        "object_uuid": UUID(int=7).hex, "object_name": "shop/db", "outcome": "allowed",
        "address": "192.0.2.1", "request_id": "r1", "details": '{"number":7}', "manifest_digest": None,
    }  # fmt: skip
    return Link(EventFields(**fields | changed), b"", b"\x01" * 32, b"")


def parsed_cef(line: bytes) -> tuple[list[str], dict[str, str]]:
    """Parse as the specification says: pipes end the header, unescaped equals signs end keys."""
    text = line.decode().removesuffix("\n")
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", text, maxsplit=7)
    header = [part.replace("\\|", "|").replace("\\\\", "\\") for part in parts[:7]]
    assert re.split(r"(?<!\\)\|", text)[0] == "CEF:0"
    extension, position = {}, list(re.finditer(r"(?:^| )(\w+)=", parts[7]))
    found = [each for each in position if not parts[7][: each.end() - 1].endswith("\\")]
    for each, following in zip(found, [*found[1:], None], strict=True):
        raw = parts[7][each.end() : following.start() if following else None]
        assert not re.search(r"(?<!\\)(?:\\\\)*=", raw)
        extension[each[1]] = re.sub(r"\\[nr=\\]", lambda escape: _ESCAPES[escape[0]], raw)
    return header, extension


def test_cef_names_what_happened() -> None:
    header, extension = parsed_cef(cef_line(link()))
    assert header == ["CEF:0", "Keeper", "Keeper", "1", "secret.reveal", "Secret revealed", "1"]
    assert extension["rt"] == "1796026245898"
    assert (extension["suser"], extension["cs3"], extension["cn1"]) == ("alice", "shop/db", "4711")
    assert (extension["src"], extension["cn2"], extension["outcome"]) == ("192.0.2.1", "7", "allowed")
    assert "c6a2" in parsed_cef(cef_line(link(address="2001:db8::1")))[1]
    assert not {"src", "c6a2"} & parsed_cef(cef_line(link(address="unix socket")))[1].keys()


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_stays_one_field_of_one_line(name: str) -> None:
    line = cef_line(link(actor_name=name, object_name=name, details=json.dumps({"reason": name})))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    header, extension = parsed_cef(line)
    plain = parsed_cef(cef_line(link()))
    assert (header, extension.keys() - {"cn2", "cn2Label"}) == (
        plain[0],
        plain[1].keys() - {"cn2", "cn2Label"},
    )
    kept = "".join(sign for sign in name if sign in "\n\r" or sign.isprintable() or sign in "\u202e\u2028")
    shown = extension["suser"]
    assert shown == kept or (shown.endswith("…") and kept.startswith(shown[:-1]))
    assert len(shown.encode()) <= 1_023
    for written in (json_line, ocsf_line):
        one = written(link(actor_name=name, object_name=name))
        assert one.count(b"\n") == 1
        assert name in json.dumps(json.loads(one), ensure_ascii=False) or "\\" in json.dumps(name)


def test_64_kib_of_details_stay_one_line() -> None:
    details = json.dumps({"reason": "x\n" * 32_768})
    assert json.loads(json_line(link(details=details)))["details"]["reason"].endswith("\n")
    assert len(cef_line(link(details=details))) < 4_096
    assert ocsf_line(link(details=details)).count(b"\n") == 1


@pytest.mark.parametrize("action", sorted(Action))
def test_every_action_has_its_ocsf_class_and_what_that_requires(action: Action) -> None:
    assert action.partition(".")[0] in CLASSES
    for outcome in Outcome:
        event = json.loads(ocsf_line(link(action=action.value, outcome=outcome.value)))
        kind, activity = event["class_uid"], event["activity_id"]
        assert event["type_uid"] == kind * 100 + activity
        assert event["category_uid"] == kind // 1000
        assert event["severity_id"] in range(1, 6)
        assert activity != 99 or event["activity_name"]
        required = {
            3001: {"user"}, 3002: {"user", "service"}, 3004: {"entity"}, 3005: {"user", "privileges"},
            6003: {"actor", "api", "src_endpoint"}, 2004: {"finding_info"},
        }  # fmt: skip
        assert required[kind] <= event.keys()


def test_reads_refusals_and_damage_are_told_apart() -> None:
    def told(action: Action, outcome: str = "allowed") -> tuple[int, int, int]:
        event = json.loads(ocsf_line(link(action=action.value, outcome=outcome)))
        return event["class_uid"], event["activity_id"], event["severity_id"]

    assert told(Action.SECRET_REVEAL) == (6003, 2, 1)
    assert told(Action.SECRET_REVEAL, "denied") == (6003, 2, 3)
    assert told(Action.SECRET_UPDATE) == (3004, 3, 2)
    assert told(Action.SECRET_DELETE) == (3004, 4, 2)
    assert told(Action.SIGN_IN) == (3002, 1, 1)
    assert told(Action.MEMBER_GRANT) == (3005, 1, 2)
    assert told(Action.BREAK_GLASS) == (3005, 1, 4)
    assert told(Action.INTEGRITY_VIOLATION, "failed") == (2004, 1, 5)


def test_an_action_of_a_later_release_is_still_told() -> None:
    assert json.loads(ocsf_line(link(action="robot.dance")))["metadata"]["event_code"] == "robot.dance"
    assert parsed_cef(cef_line(link(action="robot.dance")))[0][4] == "robot.dance"
