"""Trusts: programs sign in with the token that their platform signed, and get a short service token."""
