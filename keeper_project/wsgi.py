"""The WSGI entry point that the web server loads."""

import os
from importlib import import_module
from importlib.util import find_spec

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")

application = get_wsgi_application()

# pysaml2 reads schemas for seconds when it is imported: now, and not while somebody signs in. A
# system check says if it is missing.
if settings.KEEPER_SAML and find_spec("djangosaml2"):
    import_module("environments_app.saml.views")
