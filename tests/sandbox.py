"""Begins a program with the walls that a systemd unit puts around it, as far as a process can put them up by itself.

Run as `python sandbox.py WALLS PROGRAM ARGUMENTS...`, where WALLS is what `walls` made of a unit. Needs libseccomp,
which comes with systemd. Knows system calls; what folders a process sees is not its business.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from typing import Any

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # seccomp_init(3): let it pass, or fail with EPERM
_EQUAL, _MASKED_EQUAL = 4, 7
_WRITE, _EXECUTE, _SHARED_EXECUTE = 2, 4, 0o100000
_NO_NEW_PRIVILEGES = 38  # prctl(2)
_DROP_BOUNDING = 24
_FAMILIES = 64  # more than there are
_LAST_CAPABILITY = 63


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def walls(unit: Any, analyze: str) -> str:
    """What a unit (tests/units.py) forbids, for the command line."""
    allowed: set[str] = set()
    for line in unit.options["Service.SystemCallFilter"]:
        calls = {call for word in line.removeprefix("~").split() for call in _calls(word, analyze)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    families = [getattr(socket, word).value for word in unit.words("Service.RestrictAddressFamilies")]
    is_fixed = unit.one("Service.MemoryDenyWriteExecute") == "yes"
    assert unit.one("Service.CapabilityBoundingSet") == ""
    assert unit.one("Service.NoNewPrivileges") == "yes"
    return json.dumps({"allowed": sorted(allowed), "families": families, "is_fixed": is_fixed})


def _calls(word: str, analyze: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    listed = subprocess.run([analyze, "syscall-filter", word], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in listed.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for each in words for call in _calls(each, analyze)}


class _Filter:
    """One filter of system calls; of several, the strictest counts."""

    def __init__(self, library: ctypes.CDLL, action: int) -> None:
        self._library = library
        library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(library.seccomp_init(action))

    def add(self, action: int, call: str, *comparisons: _Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # another machine's system call has none here
            array = (_Comparison * len(comparisons))(*comparisons)
            failure = self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), array)
            assert failure == 0, (call, failure)

    def load(self) -> None:
        assert self._library.seccomp_load(self._context) == 0


def _put_up(forbidden: dict[str, Any]) -> None:
    system, library = ctypes.CDLL(None, use_errno=True), ctypes.CDLL("libseccomp.so.2")
    for capability in range(_LAST_CAPABILITY + 1):
        system.prctl(_DROP_BOUNDING, capability, 0, 0, 0)
    assert system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    details = _Filter(library, _ALLOW)
    for family in set(range(_FAMILIES)) - set(forbidden["families"]):
        details.add(_REFUSE, "socket", _Comparison(0, _EQUAL, family, 0))
    if forbidden["is_fixed"]:
        both = _WRITE | _EXECUTE
        details.add(_REFUSE, "mmap", _Comparison(2, _MASKED_EQUAL, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            details.add(_REFUSE, call, _Comparison(2, _MASKED_EQUAL, _EXECUTE, _EXECUTE))
        details.add(_REFUSE, "shmat", _Comparison(2, _MASKED_EQUAL, _SHARED_EXECUTE, _SHARED_EXECUTE))
    details.load()
    calls = _Filter(library, _REFUSE)
    for call in forbidden["allowed"]:
        calls.add(_ALLOW, call)
    calls.load()


if __name__ == "__main__":
    _put_up(json.loads(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
