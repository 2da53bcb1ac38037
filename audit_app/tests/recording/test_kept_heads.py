from audit_app.recording.group_commit import KeptHeads

HEAD = (3, b"h" * 32)


def test_it_knows_where_a_head_was_left() -> None:
    heads = KeptHeads()
    assert heads.get("a") is None
    heads.left("a", HEAD)
    assert heads.get("a") == HEAD
    assert heads.get("b") is None


def test_a_head_that_others_move_is_unknown_for_a_while() -> None:
    now = [100.0]
    heads = KeptHeads(clock=lambda: now[0])
    heads.left("a", HEAD)
    heads.moved_by_others("a")
    heads.left("a", HEAD)
    assert heads.get("a") is None
    now[0] += 10
    assert heads.get("a") == HEAD
