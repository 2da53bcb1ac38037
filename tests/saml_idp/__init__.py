"""A small identity provider, by pysaml2 and xmlsec1, which can also answer wrongly."""
