"""Conditions of queries that are made of many."""

from functools import reduce
from operator import or_
from typing import Final

from django.db.models import BooleanField, Func, Q

# So many are one chain of ORs.
_CHAIN: Final = 100


class _Bracketed(Func):
    """A condition in brackets, which Django leaves out in a chain of ORs."""

    template = "(%(expressions)s)"
    output_field = BooleanField()


def any_of(*conditions: Q) -> Q:
    """Return the condition that one of these is true.

    SQLite takes 1,000 levels of an expression, and each OR of a chain is one: many go by the hundred.
    """
    parts = [reduce(or_, conditions[at : at + _CHAIN]) for at in range(0, len(conditions), _CHAIN)]
    return parts[0] if len(parts) == 1 else reduce(or_, (Q(_Bracketed(part)) for part in parts))
