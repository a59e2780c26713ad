"""The start-up check: can this server keep the promises of a ledger? Asked once per store.

What the server says about itself (INFO) is judged by a pure function; around it, one request in each colour.
CONFIG is not asked: managed services forbid it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

from costscope.errors import LayoutMismatch, StoreMisconfigured, StoreWarning

if TYPE_CHECKING:
    from costscope_valkey.link import Link
    from costscope_valkey.url import ServerAddress

_OLDEST_MAJOR: Final = 7


def check_server(link: Link, layout: str) -> None:
    """Make sure that the server can keep a ledger, and that the ledger has this layout.

    Args:
        link: to the server; its address names the ledger.
        layout: the version of keys and fields this library writes; recorded with a new ledger.

    Raises:
        StoreMisconfigured: it evicts keys, is too old or no Valkey, or is a replica.
        LayoutMismatch: another layout is recorded.
        StoreUnavailable: it could not be asked.

    Warns:
        StoreWarning: the books may be lost at a restart, travel unencrypted, or could not be checked.
    """
    try:
        info = link.command("INFO")
    except StoreMisconfigured as refusal:
        if "NOPERM" not in str(refusal):
            raise
        info = None
    for concern in judge(info, link.server):
        warnings.warn(concern, StoreWarning, stacklevel=3)
    recorded = link.command("SET", layout_key(link.server.ledger), layout, "NX", "GET")
    found = recorded.decode(errors="replace") if isinstance(recorded, bytes) else recorded
    if found not in (None, layout):
        msg = (
            f"{link.server}: ledger {link.server.ledger!r} has layout {found!s:.40}, this costscope writes layout {layout}; "
            "use the version that wrote it, or another ledger (?ledger=NAME)"
        )
        raise LayoutMismatch(msg)


def layout_key(ledger: str) -> str:
    """Return the key that records the layout version of a ledger."""
    return f"costscope:layout:{{{ledger}}}"


def judge(info: object, server: ServerAddress) -> list[str]:
    """Say what to warn of, given the reply to INFO, or None when that is not permitted.

    Raises:
        StoreMisconfigured: the server cannot keep a ledger.
    """
    concerns = []
    if not (server.local or server.encrypted):
        concerns.append(f"{server}: password and books travel unencrypted; use valkeys://")
    if info is None:
        concerns.append(
            f"{server}: the user may not call INFO, so eviction and durability were not checked; "
            "make sure of maxmemory-policy noeviction and appendonly yes, or allow +info"
        )
        return concerns
    facts = _facts(info)
    version = facts.get("valkey_version") or facts.get("redis_version") or ""
    major = version.partition(".")[0]
    if not (major.isascii() and major.isdigit() and int(major) >= _OLDEST_MAJOR):
        msg = f"{server}: version {version[:20] or 'unknown'} cannot keep a ledger; use Valkey 7.2 or newer"
        raise StoreMisconfigured(msg)
    if facts.get("role") not in (None, "master"):
        primary = f"{facts.get('master_host', '?')}:{facts.get('master_port', '?')}"
        msg = f"{server}: it is a replica of {primary}; give the URL of the primary"
        raise StoreMisconfigured(msg)
    policy = facts.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        msg = (
            f"{server}: maxmemory-policy is {policy}, which silently drops budgets when memory is full; "
            "set it: CONFIG SET maxmemory-policy noeviction"
        )
        raise StoreMisconfigured(msg)
    if facts.get("aof_enabled") == "0":
        concerns.append(f"{server}: appendonly is off, so a restart may lose the books; set appendonly yes")
    return concerns


def _facts(info: object) -> dict[str, str]:
    text = info.decode(errors="replace") if isinstance(info, bytes) else str(info)
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, colon, value in pairs if colon}
