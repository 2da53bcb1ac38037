"""Addresses, outbound requests, and the limit on recorded refusals."""
