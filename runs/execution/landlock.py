"""Landlock: the kernel takes from a process, and from all that it starts, every file that no rule names.

https://docs.kernel.org/userspace-api/landlock.html. It needs neither rights nor namespaces, so that it works in
containers; pids, exit codes and signals to the process stay as they are. Beside files it closes what `/proc` says of
other processes, as `ptrace` would see it, and from ABI 6 on signals to them and their abstract sockets.
Knows no Django.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULESET_VERSION = 1
PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38
# ABI 1 refuses to move a file into another directory, which trainers do.
OLDEST = 2


class Access(IntFlag):
    """What may be done with a file, or below a directory. Ioctls of devices are left alone: a GPU is used by them."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14  # from ABI 3 on


LIST = Access.READ_DIR
READ = Access.EXECUTE | Access.READ_FILE | Access.READ_DIR
EVERYTHING = Access((1 << 15) - 1)
WRITE = EVERYTHING & ~(Access.MAKE_CHAR | Access.MAKE_BLOCK)
OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("directory", ctypes.c_int32)]


_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """Which version the kernel speaks; 0 where it has none, or it is switched off or forbidden here."""
    return max(0, _libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), RULESET_VERSION))


def ruleset(rules: Iterable[tuple[Path, Access]]) -> int:
    """A file descriptor for `enter`, which leaves a process these paths and nothing else. Raises OSError.

    What is not there, a link, or not to be opened by us is passed over: it stays closed.
    """
    version = abi()
    handled = EVERYTHING if version >= 3 else EVERYTHING & ~Access.TRUNCATE
    scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if version >= 6 else 0
    attributes = _RulesetAttributes(handled, 0, scoped)
    made = _call(CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    for path, access in rules:
        _allow(made, path, access & handled)
    return made


def enter(made: int) -> None:
    """For this thread, and what it starts from now on; for good. Raises OSError."""
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _call(RESTRICT_SELF, made, 0)


def _allow(made: int, path: Path, access: Access) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        mode = os.fstat(opened).st_mode
        if stat.S_ISLNK(mode):
            return
        rule = _PathBeneath(access if stat.S_ISDIR(mode) else access & OF_FILES, opened)
        _call(ADD_RULE, made, PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def _call(number: int, *arguments: object) -> int:
    result = _libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
