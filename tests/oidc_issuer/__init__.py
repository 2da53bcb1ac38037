"""An issuer of OpenID Connect whose answers a test may make wrong, over HTTP on the loopback address."""
