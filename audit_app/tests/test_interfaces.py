from audit_app.interfaces import Purpose, forget_keyring, keyring
from audit_app.tests.keyring import ToyKeyring


def test_a_process_has_one_keyring() -> None:
    first = keyring()
    assert isinstance(first, ToyKeyring)
    assert keyring() is first
    forget_keyring()
    assert keyring() is not first


def test_the_key_of_one_purpose_does_not_serve_another() -> None:
    tag = keyring().mac(Purpose.AUDIT_MAC, b"x")
    assert keyring().verify(Purpose.AUDIT_MAC, b"x", tag)
    assert not keyring().verify(Purpose.ROW_MAC, b"x", tag)
