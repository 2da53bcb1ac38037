"""Names that the glossary replaced are defined nowhere again."""

import ast
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings

from keeper_project.config.startup_checks import OWN_RENAMED

ROOT: Final = Path(__file__).resolve().parents[2]
# The old names of functions and classes, by the app that defined them.
RETIRED: Final = {
    "audit_app": """
        Cut Draft KeptDigest LastState Loss Seam Standing Tally authentic contradictions cuts_of is_authentic
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
        VersionBindings Wrap admitted all_open announce another_key another_region attempt carry_out
        change check_expected current_rows decrypted dossier draft drop_pending
        environments_that_follow failing filled follow follow_unless_given in_use living mark_due
        may_somewhere other_wrap own_wrap patiently places_for plain_rows prove reason_of
        refuse_idle refuse_other_use require_living require_wraps reseal set_other settle settled
        translated unanswered wrap_again
    """,
    "sync_app": """
        Adoption AnotherSystem Answer Asked Choice Copy CreateOvertaken Crew Done Draft Exposed Held
        Hold Job Leaving LoginUnsuitable MISREAD Moved NameHeld Opened Pace Pause Pending Probe
        Reader Rehearsal RehearsalDocument Rights Seen ServedMeanwhile Shown Standing Started
        SyncOwner Taken TestsUnderWay Tools Unfinished Unreadable UpdateOvertaken Work WorkerStops
        adopted adoption_of after_abandoning after_removal after_retrying after_run after_work
        answering_system approved_options asked_paths awaited base_of begun carry_on
        carry_on_rotation checked_cron checked_name claim_of clearance_of cleared_to_apply
        cleared_to_change cleared_to_confirm cleared_to_decide cleared_to_resolve cleared_to_resume
        cleared_to_rotate cut_grace delivers disconnected draw end_forged expires exposed_to
        failed_last fetches fingerprints_of follow found_policy found_target give_up guarded_client
        hasten held_back held_of intended_of is_asked is_filled_in is_named is_same json_object
        judged just_before kind_of lag_of leave_off_if_asked left_behind left_by_abandoning let_in
        lies_under look_again lost makeable mark_from marked may_be_told mend_due_times
        needs_comparison needs_reading new_password no_pulse nudge_environment nudge_rotation
        number_of of_names offered overlap_sentence overwrote owned_there principal_of reader_named
        recognise recovery_window refuse_forged refuse_other_forms refuse_partial refuse_paused
        refuse_widened_meanwhile rehearse replaced request_again require_authentic_place
        require_living require_on resolutions rotate_exposed rules_of seen_in settle_left_behind
        side_of standing_of state_of survey survey_of synced system_of take_back translated type_of
        unanswered unconfirmed value_refusal version_name
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
