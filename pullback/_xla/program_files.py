"""A folder of compiled programs: files that only their owner can have written, bounded in number by their size.

A file holds the digest of its content under a secret key of the folder: a file that another user, another folder or an
interrupted write left there is not loaded. Nothing in a file is executed to read it. No failure is an error: a program
that is not found is compiled, one that cannot be written is not there the next time. Modules that `import pullback`
would load for this alone are imported where they are used.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MAGIC = b"pullback program 1\n"
_DIGEST = "sha256"
_HEADER = len(_MAGIC) + 32
_SUFFIX = ".program"
_KEY = "key"
_KEY_SIZE = 32
_LARGEST = 2**31
# a file that has been read is marked as used once an hour, and one that was not renamed is garbage after as long
_HOUR = 3600.0
# a folder that is too large shrinks to this part of its bound, so that not every write has to look for what goes
_PART = 0.9


class ProgramFile(NamedTuple):
    """A file of the folder: its name without the suffix, its size in bytes, and the time of its last use.

    >>> from pullback.compilation_cache import ProgramFile
    >>> ProgramFile("0123", 4096, 0.).size
    4096
    """

    name: str
    size: int
    used: float


class ProgramFolder:
    """Programs by name in a folder, which is made at the first write."""

    def __init__(self, path: Path):
        self.path = path
        self._key: bytes | None = None
        self._lock = threading.Lock()
        self._unseen: float = float("inf")  # bytes written since the size of the folder was looked at

    def read(self, name: str) -> bytes | None:
        """The program of this name, or None if there is none that this folder's key has signed."""
        import hmac
        import zlib

        key = self._secret(make=False)
        if key is None:
            return None
        path = self._file(name)
        data = _read_own(path, _LARGEST)
        if data is None:
            return None
        body = data[_HEADER:]
        if data[: len(_MAGIC)] != _MAGIC or not hmac.compare_digest(
            data[len(_MAGIC) : _HEADER], _signature(key, name, body)
        ):
            self.forget(name)
            return None
        with contextlib.suppress(OSError):
            if abs(time.time() - path.stat().st_mtime) > _HOUR:
                os.utime(path)
        try:
            return zlib.decompress(body)
        except zlib.error:
            return None

    def write(self, name: str, program: bytes, bound: int) -> None:
        """Keep a program; those that were not used for longest go if the folder becomes larger than `bound` bytes."""
        import zlib

        key = self._secret(make=True)
        if key is None:
            return
        body = zlib.compress(program, 1)
        data = _MAGIC + _signature(key, name, body) + body
        if len(data) > min(bound, _LARGEST) or not _write_own(self._file(name), data):
            return
        with self._lock:
            self._unseen += len(data)
            look = self._unseen > bound * (1 - _PART)
            if look:
                self._unseen = 0
        if look:
            self._shrink(bound)

    def problem(self) -> str | None:
        """Why nothing is kept here, for people to read; None if there is no reason."""
        if self._secret(make=True) is None:
            if self.path.exists() and not _is_own_folder(self.path):
                return "it is no folder that only its owner, the user of this process, can write to"
            return "it cannot be made or written to, or its file `key` is not this user's own"
        return None if os.access(self.path, os.W_OK) else "it cannot be written to"

    def forget(self, name: str) -> None:
        """Remove a program."""
        with contextlib.suppress(OSError):
            self._file(name).unlink()

    def files(self) -> list[ProgramFile]:
        """All programs, least recently used first."""
        now, found = time.time(), []
        for entry in self._entries():
            if entry.name.endswith(_SUFFIX):
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    # a time that is still to come is that of a wrong clock: it must not protect a file for ever
                    used = status.st_mtime if status.st_mtime <= now + _HOUR else 0.0
                    found.append(ProgramFile(entry.name.removesuffix(_SUFFIX), status.st_size, used))
        return sorted(found, key=lambda file: file.used)

    def clear(self) -> int:
        """Remove all programs and the key; returns the number of programs."""
        files = self.files()
        for file in files:
            self.forget(file.name)
        with contextlib.suppress(OSError):
            (self.path / _KEY).unlink()
        self._key = None
        self._remove_unfinished(after=0.0)
        return len(files)

    def _shrink(self, bound: int) -> None:
        files = self.files()
        size = sum(file.size for file in files)
        if size > bound:
            for file in files:
                if size <= bound * _PART:
                    break
                self.forget(file.name)
                size -= file.size
        self._remove_unfinished(after=_HOUR)

    def _remove_unfinished(self, after: float) -> None:
        """Remove what writers that were killed have left behind."""
        now = time.time()
        for entry in self._entries():
            if _is_unfinished(entry.name):
                with contextlib.suppress(OSError):
                    if abs(now - entry.stat(follow_symlinks=False).st_mtime) >= after:
                        os.unlink(entry.path)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        if not _is_own_folder(self.path):
            return
        with contextlib.suppress(OSError), os.scandir(self.path) as entries:
            yield from entries

    def _file(self, name: str) -> Path:
        return self.path / (name + _SUFFIX)

    def _secret(self, make: bool) -> bytes | None:
        """The key of the folder, made if there is none; None if that is not possible or not to be trusted."""
        if self._key is not None:
            return self._key
        if make:
            with contextlib.suppress(OSError):
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_own_folder(self.path):
            return None
        path = self.path / _KEY
        key = _read_own(path, _LARGEST)
        if make and (key is None or len(key) != _KEY_SIZE):
            if key is not None:
                with contextlib.suppress(OSError):
                    path.unlink()
            _write_own(path, os.urandom(_KEY_SIZE), replace=False)
            key = _read_own(path, _LARGEST)
        if key is None or len(key) != _KEY_SIZE:
            return None
        self._key = key
        return key


def _signature(key: bytes, name: str, body: bytes) -> bytes:
    import hmac

    return hmac.digest(key, name.encode() + b"\n" + body, _DIGEST)


def _is_own(status: os.stat_result) -> bool:
    """Whether nobody but this user can have written there."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_own_folder(path: Path) -> bool:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(status.st_mode) and _is_own(status)


def _read_own(path: Path, most: int) -> bytes | None:
    """The content of a regular file of this user's, up to `most` bytes; None for any other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or not _is_own(status) or status.st_size > most:
                return None
            return file.read(most)
    except OSError:
        return None


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(".part")


def _write_own(path: Path, data: bytes, replace: bool = True) -> bool:
    """Write a file at once: others see it whole or not at all. Returns whether it was written."""
    part = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
        if replace:
            os.replace(part, path)
        else:
            os.link(part, path)  # fails where another process was first
            os.unlink(part)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        return False
    return True
