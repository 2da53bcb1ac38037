"""Service tokens: issue, rotate, revoke, expiry alerts."""
