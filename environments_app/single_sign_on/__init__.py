"""What SAML and OpenID Connect share: pending requests, accounts by subject, groups, sessions, refusals."""
