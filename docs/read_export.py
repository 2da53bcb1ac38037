"""Reads an export of `keeper export-all json` without Keeper. It needs Python 3.9 and nothing else.

age -d keeper.age | python3 read_export.py - verify       is it whole, and is nothing damaged?
age -d keeper.age | python3 read_export.py - list         environment, name, type and numbers; no value
python3 read_export.py export.jsonl dotenv production     the current values as NAME='value' lines
"""

import hashlib
import json
import re
import sys
from pathlib import Path


def read(file):
    """Return the lines before the tail. Raise ValueError unless the tail proves that they are all."""
    *raw, last = file.read().splitlines(keepends=True) or [b""]
    lines, tail = [json.loads(each) for each in raw], json.loads(last)
    secrets = sum("name" in line for line in lines)
    versions = sum("version" in line for line in lines)
    found = (secrets, versions, hashlib.sha256(b"".join(raw)).hexdigest())
    if not lines or found != (tail.get("secrets"), tail.get("versions"), tail.get("sha256")):
        raise ValueError("its end is missing, or its lines are not those that were written")
    if lines[0].get("format") != "keeper-export/1":
        raise ValueError("it is of another format")
    return lines


def main(path, act="verify", environment=""):
    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            lines = read(file)
    except (ValueError, TypeError, AttributeError) as error:
        sys.exit(f"The export is not whole: {error}.")
    owners = {line["secret"]: line for line in lines if "name" in line}
    versions = [line for line in lines if "version" in line]
    if act == "verify":
        print(f"whole: {len(owners)} secrets, {len(versions)} versions of {lines[0]['deployment']}")
    for secret in owners.values() if act == "list" else ():
        numbers = [str(each["number"]) for each in versions if each["secret"] == secret["secret"]]
        print(secret["environment"], secret["name"], secret["type"], ",".join(numbers), sep="\t")
    if act == "dotenv" and environment not in lines[0]["environments"]:
        sys.exit(f"The export has no environment {environment}.")
    named = {}
    for version in versions if act == "dotenv" else ():
        secret = owners[version["secret"]]
        if (secret["environment"], secret["current"]) == (environment, version["number"]):
            variable = re.sub("^(?=[0-9])", "_", re.sub("[^A-Za-z0-9_]", "_", secret["name"]).upper())
            named.setdefault(variable, []).append((secret["name"], version["value"]))
    for variable, found in named.items():
        if len(found) > 1 or "\0" in found[0][1]:
            sys.exit(f"The variable {variable} cannot hold {', '.join(name for name, _ in found)}.")
    for variable, [(_, value)] in named.items():
        # A shell reads both; python-dotenv reads $ and ` in single quotes, two backslashes in double ones.
        single = "'" not in value and (re.search("[$`]", value) or not re.search(r"\\(\\|\n|\Z)", value))
        print(variable, f"'{value}'" if single else re.sub(r'([\\"$`])', r"\\\1", value).join('""'), sep="=")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 1 else print(__doc__)
