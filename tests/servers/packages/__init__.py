"""Packages that the tests install: of Node.js, of Python in environments of their own, helm."""
