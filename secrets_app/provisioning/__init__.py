"""Provisioning by SCIM: what a client does with people. The end of an account is the act of `departures`."""
