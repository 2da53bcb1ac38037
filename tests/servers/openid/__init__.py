"""Providers of OpenID Connect that nobody here wrote, of three makers: in JavaScript, Perl and C."""
