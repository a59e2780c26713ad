"""Which store the reading commands look at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote

import typer

from costscope.errors import InvalidInput
from costscope.stores import open_store

if TYPE_CHECKING:
    from costscope.stores import Store


_EMBEDDED: Final = "embedded://"

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where the books are: valkey://HOST:PORT/DB?ledger=NAME, valkeys://..., embedded://DIR. "
        "By default $COSTSCOPE_STORE.",
        show_default=False,
    ),
]


def open_books(url: str | None) -> Store:
    """Open the store to read, from the option or the environment.

    Raises:
        InvalidInput: no store is named, or one that would have to be made first.
        StoreMisconfigured: the URL is wrong, or something else than Valkey answers there.
    """
    chosen = url or os.environ.get("COSTSCOPE_STORE")
    if not chosen:
        msg = "no store is named: give --store URL, such as valkey://localhost:6379/0, or set COSTSCOPE_STORE"
        raise InvalidInput(msg)
    if chosen.startswith("memory:"):
        msg = "memory:// keeps the books inside the process that uses them; only a store with a server can be looked at"
        raise InvalidInput(msg)
    if chosen.startswith(_EMBEDDED):
        folder = Path(unquote(chosen.removeprefix(_EMBEDDED).partition("?")[0])).expanduser()
        if not folder.is_dir():  # opening it would make a new, empty ledger: a typing error must not
            msg = f"embedded://{folder}: there is no such folder; name the one the agents use"
            raise InvalidInput(msg)
    return open_store(chosen)
