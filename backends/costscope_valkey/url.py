"""The URL of a Valkey store: what is written there, checked, and never shown with its password.

`valkey://[USER:PASSWORD@]HOST[:PORT][/DB]`, `valkeys://...` (TLS, verified), `embedded://DIR` and
`unix:///PATH/TO/SOCKET`, each with options after `?`. A URL is looked at piece by piece, so that an error can
name the piece that is wrong without repeating a secret that sits in another one.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, cast, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from costscope.errors import StoreMisconfigured

Scheme = Literal["valkey", "valkeys", "unix", "embedded"]

_LEDGER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_TIMEOUT_MS_MAX: Final = 60_000
_IDLE_S_MAX: Final = 3_600
_DATABASE: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_COMMON: Final = frozenset({"ledger", "connect_timeout_ms", "operation_timeout_ms", "total_timeout_ms"})
_OPTIONS: Final = {
    "valkey": _COMMON,
    "valkeys": _COMMON | {"ca_certs", "cert", "key"},
    "unix": _COMMON | {"db"},
    "embedded": _COMMON | {"idle_s"},
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one caller may wait, in seconds."""

    connect_s: float = 0.1
    """For a connection to be accepted."""
    operation_s: float = 0.25
    """For one request to be answered."""
    total_s: float = 0.5
    """For everything, our own retries included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where a server is, how to log in, and which ledger is meant there."""

    scheme: Scheme
    host: str = ""
    port: int = 6379
    path: str = ""
    """The unix socket; empty for TCP, and for an embedded server that has not been started."""
    directory: Path | None = None
    """Where an embedded server keeps its books."""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    ca_certs: str | None = None
    cert: str | None = None
    key: str | None = None
    ledger: str = "default"
    timeouts: Timeouts = Timeouts()
    idle_s: float = 30.0
    """After how many seconds without a client an embedded server stops by itself."""

    @property
    def encrypted(self) -> bool:
        """True when the connection is TLS."""
        return self.scheme == "valkeys"

    @property
    def local(self) -> bool:
        """True when no packet leaves this host: a unix socket or a loopback address."""
        if self.scheme in ("unix", "embedded") or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """The address for messages: without credentials and options."""
        if self.directory is not None:
            return f"embedded://{self.directory}"
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.db}"

    def at_socket(self, path: str) -> ServerAddress:
        """Return the same store, reached through this unix socket: what an embedded address becomes once it runs."""
        return replace(self, path=path)


def parse_url(url: str) -> ServerAddress:
    """Read a store URL.

    Options after `?`: `ledger` (default `default`; 1 to 64 of `A-Z a-z 0-9 _ . -`), `connect_timeout_ms` (100),
    `operation_timeout_ms` (250), `total_timeout_ms` (500); with `valkeys` also `ca_certs`, `cert` and `key`
    (PEM files); with `unix` also `db`; with `embedded` also `idle_s` (30).

    Args:
        url: the URL; user, password and paths percent-encoded where they hold `/ ? # @ %`.

    Raises:
        StoreMisconfigured: some part is wrong; the message names the part, never the password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in get_args(Scheme):
        given = repr(scheme[:20]) if separator and "@" not in scheme else "none"
        msg = f"store URL: the scheme must be one of {', '.join(get_args(Scheme))} followed by ://, but it is {given}"
        raise StoreMisconfigured(msg)
    if "\x00" in url or "%00" in url:
        msg = "store URL: it holds a NUL character; remove it"
        raise StoreMisconfigured(msg)
    known = cast("Scheme", scheme)
    if known in ("unix", "embedded"):
        # not urlsplit: a folder may be called `Books#1`, and a relative one has no host part
        place, _, query = rest.partition("?")
        return _local_address(known, unquote(place), _options(known, query))
    return _network_address(known, url)


def _local_address(scheme: Scheme, place: str, options: dict[str, str]) -> ServerAddress:
    if not place or (scheme == "unix" and not place.startswith("/")):
        wanted = (
            "embedded://DIR with the folder of the books" if scheme == "embedded" else "unix:///ABSOLUTE/PATH"
        )
        msg = f"store URL: the path {place!r} cannot be used; write {wanted}"
        raise StoreMisconfigured(msg)
    db = _database(options.pop("db", ""), secret=False)
    if scheme == "unix":
        return _with_options(ServerAddress(scheme=scheme, path=place, db=db), options)
    directory = Path(place).expanduser().resolve()
    return _with_options(ServerAddress(scheme=scheme, directory=directory), options)


def _network_address(scheme: Scheme, url: str) -> ServerAddress:
    # a password with an unescaped '/' or '@' ends up in other parts, so with credentials no value is shown
    secret = "@" in url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        msg = "store URL: HOST:PORT cannot be read; the port is a number from 1 to 65535, an IPv6 host stands in [ ]"
        raise StoreMisconfigured(_escaping_hint(msg, secret=secret)) from None
    if not host:
        msg = f"store URL: the host is missing; write {scheme}://HOST:PORT/DB"
        raise StoreMisconfigured(_escaping_hint(msg, secret=secret))
    if port == 0 or parts.fragment:
        what = "the port is 0" if port == 0 else "it holds a '#'"
        msg = f"store URL: {what}; write {scheme}://HOST:PORT/DB?OPTIONS"
        raise StoreMisconfigured(_escaping_hint(msg, secret=secret))
    address = ServerAddress(
        scheme=scheme,
        host=host,
        port=port or 6379,
        db=_database(parts.path.removeprefix("/"), secret=secret),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
    if address.username and not address.password:
        msg = "store URL: a user without a password; write USER:PASSWORD@ or :PASSWORD@"
        raise StoreMisconfigured(msg)
    return _with_options(address, _options(scheme, parts.query))


def _database(text: str, *, secret: bool) -> int:
    if not text:
        return 0
    if not _DATABASE.fullmatch(text):
        given = "" if secret else f" {text[:40]!r}"
        msg = f"store URL: the database{given} is not a number from 0 to 99999; write .../DB, mostly .../0"
        raise StoreMisconfigured(_escaping_hint(msg, secret=secret))
    return int(text)


def _options(scheme: Scheme, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    allowed = _OPTIONS[scheme]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            # only the known names are shown: what looks like an option may be the tail of a password
            msg = f"store URL: an option after '?' is unknown; {scheme}:// knows {', '.join(sorted(allowed))}"
            raise StoreMisconfigured(msg)
        if name in options or not value:
            problem = "is empty" if not value else "is given twice"
            msg = f"store URL: the option {name} {problem}; give it once, with a value"
            raise StoreMisconfigured(msg)
        options[name] = value
    return options


def _with_options(address: ServerAddress, options: dict[str, str]) -> ServerAddress:
    ledger = options.get("ledger", "default")
    if not _LEDGER.fullmatch(ledger):
        msg = f"store URL: ledger={ledger[:80]!r} is not 1 to 64 of the characters A-Z a-z 0-9 _ . -"
        raise StoreMisconfigured(msg)
    if ("cert" in options) != ("key" in options):
        msg = "store URL: cert and key (PEM files) go together; give both or neither"
        raise StoreMisconfigured(msg)
    for name in ("ca_certs", "cert", "key"):
        if name in options and not Path(options[name]).is_file():
            msg = f"store URL: {name}={options[name]!r} is not a file; give the path of a PEM file"
            raise StoreMisconfigured(msg)
    usual = Timeouts()
    return replace(
        address,
        ledger=ledger,
        ca_certs=options.get("ca_certs"),
        cert=options.get("cert"),
        key=options.get("key"),
        timeouts=Timeouts(
            connect_s=_number(options, "connect_timeout_ms", usual.connect_s * 1000, _TIMEOUT_MS_MAX) / 1000,
            operation_s=_number(options, "operation_timeout_ms", usual.operation_s * 1000, _TIMEOUT_MS_MAX)
            / 1000,
            total_s=_number(options, "total_timeout_ms", usual.total_s * 1000, _TIMEOUT_MS_MAX) / 1000,
        ),
        idle_s=_number(options, "idle_s", 30.0, _IDLE_S_MAX),
    )


def _number(options: dict[str, str], name: str, usual: float, largest: int) -> float:
    text = options.get(name)
    if text is None:
        return usual
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not 0 < number <= largest:  # false for NaN too
        msg = f"store URL: {name}={text[:40]!r} is not a number above 0 and up to {largest}"
        raise StoreMisconfigured(msg)
    return number


def _escaping_hint(msg: str, *, secret: bool) -> str:
    return f"{msg} (percent-encode / ? # @ % in user and password)" if secret else msg
