"""Several commands of one Keeper in one process: `python -m tests.several_commands '[["init_db"], ["kms", "test"]]'`.

Each start of Python loads Keeper again, which takes one to two seconds of CPU. The last line is a JSON list of what
each command printed.
"""

import gc
import json
import os
import sys
from io import StringIO

import django
from django.core.management import call_command

if __name__ == "__main__":
    os.umask(0o077)
    # As `keeper` does: what is loaded stays, and going over it again takes a third of the time.
    gc.disable()
    django.setup()
    gc.freeze()
    gc.enable()
    printed = []
    for arguments in json.loads(sys.argv[1]):
        out = StringIO()
        call_command(*arguments, stdout=out)
        printed.append(out.getvalue().strip())
    sys.stdout.write(f"{json.dumps(printed)}\n")
