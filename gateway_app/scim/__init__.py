"""SCIM 2.0 under /scim/v2 (RFC 7643, RFC 7644): by which identity providers make and end accounts."""
