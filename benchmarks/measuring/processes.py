"""CPU time and memory of processes with their descendants, from /proc."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path


def descendants(pids: Iterable[int]) -> set[int]:
    """Return processes and all that they started."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            children[int(_fields(entry)[1])].append(int(entry.parent.name))
        except OSError:
            continue
    found: set[int] = set()
    pending = list(pids)
    while pending:
        each = pending.pop()
        found.add(each)
        pending += children[each]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time that processes have used (proc_pid_stat(5): utime, stime); ticks of 10 ms."""
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(map(int, _fields(Path(f"/proc/{pid}/stat"))[11:13]))
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its descendants in MB (PSS): what several share counts once."""
    return sum(_kilobytes(each, "smaps_rollup", "Pss:") for each in descendants([pid])) / 1000


def memory_alone_mb(pid: int, without: Path) -> float:
    """Return this memory as if no other program ran, without mapped files below a directory.

    PSS divides a program's pages between all that run it, such as two servers of one kind.
    """
    anonymous = 0
    of_files: dict[tuple[str, str], int] = {}
    for each in descendants([pid]):
        anonymous += _kilobytes(each, "smaps_rollup", "Pss_Anon:")
        for mapping, kilobytes in _mapped(each):
            of_files[mapping] = max(of_files.get(mapping, 0), kilobytes)
    mapped = sum(size for (path, _), size in of_files.items() if not path.startswith(f"{without}/"))
    return (anonymous + mapped) / 1000


def resident_mb(pid: int) -> float:
    """Return the sum of the resident sets in MB (RSS): what several share counts for each."""
    return sum(_kilobytes(each, "status", "VmRSS:") for each in descendants([pid])) / 1000


def _fields(stat: Path) -> list[str]:
    # The program's name, in parentheses, may hold anything.
    return stat.read_text().rpartition(")")[2].split()


def _kilobytes(pid: int, file: str, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))


def _mapped(pid: int) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield path and offset of each mapped file, and the kilobytes of it in memory (proc_pid_smaps(5))."""
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError:
        return
    mapping, resident = ("", ""), 0
    for line in lines:
        field, *rest = line.split(maxsplit=5)
        if not field.endswith(":"):
            mapping = (rest[4], rest[1]) if len(rest) == 5 else ("", "")
        elif field == "Rss:":
            resident = int(rest[0])
        elif field == "Anonymous:" and mapping[0].startswith("/"):
            yield mapping, resident - int(rest[0])
