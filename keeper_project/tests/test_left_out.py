"""What a library looks for while it is loaded, and does not find."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from keeper_project.left_out import load_without

LIBRARY = "try:\n    import looked_for\nexcept ImportError:\n    looked_for = None\n"


@pytest.mark.parametrize("loaded", [False, True])
def test_a_library_does_not_find_what_is_left_out_unless_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looked_for.py").touch()
    (tmp_path / "library.py").write_text(LIBRARY)
    for name in ("looked_for", "library"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    if loaded:
        import_module("looked_for")

    load_without("library", "looked_for")

    assert (sys.modules["library"].looked_for is not None) == loaded
    # Others find it.
    assert import_module("looked_for").__name__ == "looked_for"
    monkeypatch.delitem(sys.modules, "library")
    monkeypatch.delitem(sys.modules, "looked_for")
