"""Single sign-on by SAML 2.0: asked for by Keeper, answered once, bound to the browser that asked.

pysaml2 and djangosaml2 (the extra `production`) are imported by `configuration` and
`djangosaml2_views` alone, and only where SAML is set up.
"""
