"""The adversary suite: who acts on a target before any request of Keeper's, and the judge of what is left.

Every backend of the registry is played against by every combination of rules; see `worlds` for what a
backend has to bring along.
"""
