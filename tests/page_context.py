"""What `response.context` shows of a page: the context of the page itself.

Django's test client notes every template that is rendered, with a copy of its context. A page of Keeper renders
eighty parts, fields and icons.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.template.base import Template
from django.template.context import Context, RequestContext
from django.test.signals import template_rendered
from django.utils.safestring import SafeString


@contextmanager
def noted_once() -> Iterator[None]:
    """Note the template that answers a request, and none that it includes, extends or draws a field with."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Template, "_render", _render)
        yield


def _render(self: Template, context: Context) -> SafeString:
    if context.template is self and isinstance(context, RequestContext):
        template_rendered.send(sender=self, template=self, context=context)
    return self.nodelist.render(context)
