"""The current values as dotenv files: ENVIRONMENT/FOLDER/.env, with the last part of each name."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from operations_app.backup.archive.format import unfinished_folder
from operations_app.export_all.errors import ExportError
from operations_app.export_all.reading import Whole
from secrets_app.services.exporting import dotenv_bytes, variable_name

_FILE: Final = ".env"
# The file system does not hold such a name, or takes it for another one.
_NO_NAME: Final = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EEXIST)


class DotenvTree:
    """Files of a folder that is not under its name yet: one file an environment and folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # By file and variable: the names and the value. Several names are refused.
        self._files: dict[Path, dict[str, tuple[list[str], str]]] = {}
        self.refused: list[str] = []

    def add(self, whole: Whole) -> None:
        """Take a secret of the environment that is written by `end_environment`."""
        environment, name = whole.secret.environment.name, whole.secret.name
        *folders, last = name.split("/")
        value = whole.current.value or ""
        if _FILE in folders or "\0" in value:
            self.refused.append(f"{environment}/{name}")
            return
        values = self._files.setdefault(self._folder.joinpath(environment, *folders), {})
        names, _ = values.setdefault(variable_name(last), ([], value))
        names.append(f"{environment}/{name}")

    def end_environment(self) -> None:
        """Write the files of an environment; names of one variable are refused."""
        for folder, values in self._files.items():
            self.refused += [name for names, _ in values.values() if len(names) > 1 for name in names]
            alone = {variable: value for variable, (names, value) in values.items() if len(names) == 1}
            if alone:
                try:
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                    descriptor = os.open(folder / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                except OSError as error:
                    if error.errno not in _NO_NAME:
                        raise
                    self.refused += [values[variable][0][0] for variable in alone]
                    continue
                with os.fdopen(descriptor, "wb") as file:
                    file.write(dotenv_bytes(alone))
                    file.flush()
                    os.fsync(file.fileno())
        self._files = {}


@contextmanager
def new_tree(path: Path) -> Iterator[DotenvTree]:
    """Give a tree that appears under its name when all of it is on disk, and not at all else.

    Raises ExportError if the folder exists or cannot be written.
    """
    if path.exists():
        raise ExportError(f"{path} exists: Keeper never replaces a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with unfinished_folder(path.parent, path.name) as draft:
            yield DotenvTree(draft)
            draft.rename(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror}") from error
