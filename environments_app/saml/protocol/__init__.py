"""The SAML protocol: documents, assertions, requests, logout."""
