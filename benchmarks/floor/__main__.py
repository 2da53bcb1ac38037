"""Makes the floor's tables and fills them: `python -m benchmarks.floor COUNT TOKEN`."""

import hashlib
import os
import sys

import django


def main() -> None:
    """Make and fill the tables of the floor's database."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.floor.settings")
    django.setup()
    from django.db import connection

    from benchmarks.floor.models import Access, PlainSecret, Token
    from benchmarks.measuring.values import secret_name, secret_value

    count, token = int(sys.argv[1]), sys.argv[2]
    with connection.schema_editor() as editor:
        for model in (Token, PlainSecret, Access):
            editor.create_model(model)
    Token.objects.create(digest=hashlib.sha256(token.encode()).hexdigest(), name="benchmark")
    rows = [PlainSecret(id=n + 1, name=secret_name(n), value=secret_value(n)) for n in range(count)]
    PlainSecret.objects.bulk_create(rows, batch_size=500)


if __name__ == "__main__":
    main()
