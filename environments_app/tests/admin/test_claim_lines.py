"""The claims of a provider as an administrator edits them: each value has its line."""

from environments_app.admin.forms import ClaimLines


def test_a_claim_of_several_values_keeps_all_of_them() -> None:
    field, claims = ClaimLines(), {"hd": ["example.com", "example.org"], "acr": ["strong"]}
    shown = field.prepare_value(claims)
    assert shown.splitlines() == ["acr=strong", "hd=example.com", "hd=example.org"]
    assert field.to_python(shown) == claims
    assert not field.has_changed(claims, shown)
