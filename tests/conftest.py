"""Fixtures for every folder: real servers.

`valkey_url`: the URL of a real valkey-server on a unix socket, one for each test process, with a ledger name
that no other test has (`unix:///...?ledger=t-...`). Tests share the server and never flush it.

`valkey_server_factory(**settings)`: starts throw-away servers, stopped when the test ends. Settings are those of
valkey.conf with `_` for `-`: `valkey_server_factory(maxmemory="3mb", maxmemory_policy="allkeys-lru")`. With
`tcp=True` the server listens on a free loopback port as well. What it returns is a `ValkeyServer`, see there.

`install(package, code, group=..., points=...)`: a package on the path with these entry points, by default a price table.

`tls_front(server)`: a TLS endpoint on loopback before a `tcp=True` server; returns `(port, ca_file)`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Both measure how long the machine takes for one example, which says nothing about the example.
settings.register_profile("costscope", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("costscope")

# A shell that starts the suite in the background lets it, and all that it starts, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["fake_providers.plugin"]  # the `provider` fixture: answers like OpenAI and Anthropic


class ValkeyServer:
    """A real valkey-server in a folder of its own."""

    def __init__(self, settings: dict[str, str], *, tcp: bool) -> None:
        # not pytest's tmp_path: a unix socket's path holds about 100 bytes
        self.directory = Path(tempfile.mkdtemp(prefix="cs-"))
        self.path = str(self.directory / "valkey.sock")
        self.port = _free_port() if tcp else 0
        # With `everysec` a server puts writes off while it flushes its file, and replies: how much a kill takes, and how
        # long a write takes when that goes on for two seconds, would depend on the disk.
        own = {"save": "", "appendonly": "no", "appendfsync": "no", "loglevel": "warning"}
        self.settings = own | settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """By unix socket."""
        return f"unix://{self.path}"

    @property
    def tcp_url(self) -> str:
        assert self.port, "start it with tcp=True"
        return f"valkey://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, or start again, with what is in the folder.

        Call it from the main thread: Linux ends the server together with the thread that forked it, so that
        not even a test run that was killed leaves one behind.
        """
        from costscope_valkey.embedded import server_binary
        from costscope_valkey.guardian import ask, die_with_parent

        given = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": self.path,
            "dir": str(self.directory),
        }
        words = [word for name, value in (given | self.settings).items() for word in (f"--{name}", value)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(server_binary()), *words],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it only asks the kernel for that
            )
        deadline = time.monotonic() + 20
        # a reply of any kind: it may ask for a password, or be a replica without a primary
        while (answer := ask(self.path, "PING")) is None or answer.startswith("-LOADING"):
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.005)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def ask(self, words: str) -> str:
        """The raw reply to an inline command."""
        from costscope_valkey.guardian import ask

        answer = ask(self.path, words)
        assert answer is not None
        return answer

    def close(self) -> None:
        self.kill()  # a frozen process dies of it too
        shutil.rmtree(self.directory)


_PORT_MAX = 55_535  # a cluster node's second port is 10,000 above


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port <= _PORT_MAX:
            return port


@pytest.fixture(scope="session")
def valkey_server():
    """The server all tests of this process share."""
    _needs_a_server()
    server = ValkeyServer({"appendonly": "yes"}, tcp=False)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def valkey_url(valkey_server) -> str:
    """The shared server with a ledger of this test's own."""
    return f"{valkey_server.url}?ledger=t-{uuid.uuid4().hex[:16]}"


@pytest.fixture
def valkey_server_factory():
    _needs_a_server()
    servers: list[ValkeyServer] = []

    def start(*, tcp: bool = False, **settings: str) -> ValkeyServer:
        words = {name.replace("_", "-"): value for name, value in settings.items()}
        for attempts_left in (2, 1, 0):
            server = ValkeyServer(words, tcp=tcp)
            servers.append(server)
            try:
                server.start()
            except AssertionError:
                if not (tcp and attempts_left):  # somebody else may take the free port in between
                    raise
            else:
                return server
        raise AssertionError

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for `localhost` (not for 127.0.0.1), its own authority; and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "costscope tests")])
    today = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_file, key_file


@pytest.fixture
def tls_front(tls_files):
    """TLS endpoints before servers, since the wheel's valkey-server is built without TLS."""
    certificate, key = tls_files
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with contextlib.ExitStack() as stack:

        def open_front(server: ValkeyServer) -> tuple[int, Path]:
            front = stack.enter_context(_TlsFront(context, server.path))
            return front.port, certificate

        yield open_front


class _TlsFront:
    def __init__(self, context: ssl.SSLContext, path: str) -> None:
        self._context = context
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            try:
                inside = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                plain.close()
                continue
            outside = socket.socket(socket.AF_UNIX)
            outside.connect(self._path)
            self._open += [inside, outside]
            for source, sink in ((inside, outside), (outside, inside)):
                thread = threading.Thread(target=_pump, args=(source, sink))
                self._threads.append(thread)
                thread.start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _needs_a_server() -> None:
    pytest.importorskip("costscope_valkey.embedded")
    if sys.platform == "win32" or not hasattr(os, "fork"):
        pytest.skip("valkey-server runs on Linux and macOS")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package for the time of a test: a module, and a distribution with its entry points."""
    from costscope.pricing.prices.source import installed_sources

    names = []

    def installed(package, code, *, group="costscope.prices", points=None):
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = points or {package: f"{module}:Prices"}
        text = "\n".join(f"{name} = {value}" for name, value in lines.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{text}\n")
        names.append(module)
        installed_sources.cache_clear()
        return tmp_path

    monkeypatch.syspath_prepend(str(tmp_path))
    yield installed
    installed_sources.cache_clear()
    for name in names:
        sys.modules.pop(name, None)
