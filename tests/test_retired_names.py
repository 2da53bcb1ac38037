"""Names that the glossary replaced are defined nowhere again."""

import ast
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings

from keeper_project.config.startup_checks import OWN_RENAMED

ROOT: Final = Path(__file__).resolve().parent.parent
# The old names of functions and classes, by the app that defined them.
RETIRED: Final = {
    "audit_app": """
        Cut Draft KeptDigest LastState Loss Seam Standing Tally contradictions cuts_of is_authentic
        kept_problems last_states most_active newest_cuts read_back report_violation resume row_state seams
        standing state_of versions_read
    """,
    "environments_app": """
        AccessOwner ApprovalOwner Clearance Done Hands Notice SeamFound Suspendable Way act_on_each admit
        admit_genuine apply_changes approver_stands ask bestow changing check_fields decided_for decides
        entered find_user future granted_to may_decide mint networks_text notify open_sessions parts_of
        principal_for principal_now ready_among recovered refuse refused_among require_second_person
        require_trusted standing state_of tell_people time_text took_over use_step
    """,
    "secrets_app": """
        ACTS Act Chosen Dossier Exported LOST Pause Pending Reader Resealed Revealed SecretsOwner
        VersionBindings Wrap admitted announce attempt carry_out change check_expected current_rows dossier
        draft drop_pending environments_that_follow failing filled follow follow_unless_given in_use living
        mark_due may_somewhere other_wrap own_wrap patiently places_for plain_rows prove reason_of
        require_living reseal set_other settle settled wrap_again
    """,
    "sync_app": """
        RehearsalDocument SyncOwner
    """,
    "keeper_project": """
        ACTS Act Finding Frame HotRow Kept Need Notice Opened STATES Standing ailing ask carry_out drill
        kept prove proved
    """,
}
# What lower apps are given from higher ones was named by these settings.
WIRING: Final = """
    KEEPER_APPROVAL_OWNERS KEEPER_POLICY KEEPER_RESTORE_PROBES KEEPER_ROTATION_QUEUES KEEPER_ROTATION_REQUEST
    KEEPER_SUSPENDED_BY_RESTORE KEEPER_TRAIL_ALERTS
"""


@pytest.mark.parametrize("app", RETIRED)
def test_no_retired_name_is_defined(app: str) -> None:
    modules = [path for path in (ROOT / app).rglob("*.py") if not {"tests", "migrations"} & set(path.parts)]
    assert len(modules) > 50
    defined = {name: path.relative_to(ROOT) for path in modules for name in _defined(path)}
    assert {name: defined[name] for name in RETIRED[app].split() if name in defined} == {}


def test_no_retired_setting_is_read() -> None:
    assert {*WIRING.split(), *OWN_RENAMED} & set(dir(settings)) == set()


def _defined(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
    return names
