"""The floor: the least that a Django REST framework service does to give out one recorded value.

A token row, a secret row, a plain INSERT of who read it: no encryption, chain, policy or
middleware. It is served as Keeper is, on the same kind of database with the same settings.
"""
