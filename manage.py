#!/usr/bin/env python
"""Runs Django's and Keeper's management commands, as `keeper` does."""

from keeper_project.runtime.cli import main

if __name__ == "__main__":
    main()
