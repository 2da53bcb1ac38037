"""What SAML and OpenID Connect share: accounts by subject, groups, sessions, refusals."""
