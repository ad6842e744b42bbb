"""What a server takes: processor time and memory of its processes, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Of a process and those below it, in MiB."""

    resident_mib: float
    """All pages, those that are shared counted in each process."""
    proportional_mib: float
    """Pages that several processes share counted in parts: the sum over all processes is what the machine needs."""


def tree(pid: int) -> list[int]:
    """A process and those below it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for process in found:
        found.extend(children.get(process, []))
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time so far of a process, those below it, and those of them that have ended."""
    total = 0
    for process in tree(pid):
        fields = _stat(_PROC / str(process))
        # utime, stime, and those of children that were waited for: fields 14 to 17 in proc(5), which counts from 1.
        total += sum(int(value) for value in fields[11:15])
    return total / _TICKS


def loop_seconds(pid: int) -> float:
    """Processor time so far of the first thread of a process, which is where a server's event loop runs."""
    return sum(int(value) for value in _stat(_PROC / str(pid) / "task" / str(pid))[11:13]) / _TICKS


def memory(pid: int) -> Memory:
    """Of a process and those below it."""
    resident = proportional = 0
    for process in tree(pid):
        try:
            rows = (_PROC / str(process) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has ended
        sizes = {row.split(":")[0]: int(row.split()[1]) for row in rows[1:]}
        resident += sizes["Rss"]
        proportional += sizes["Pss"]
    return Memory(resident / 1024, proportional / 1024)


def _parent(entry: Path) -> int | None:
    fields = _stat(entry)
    return int(fields[1]) if fields else None


def _stat(entry: Path) -> list[str]:
    """The fields from the third on: the second, the name, may hold anything."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
