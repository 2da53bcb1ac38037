"""Single sign-on by OpenID Connect: providers, their discovery, code exchange, ID tokens and logouts."""
