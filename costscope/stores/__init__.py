"""Stores: where the books are kept, chosen by URL."""

from costscope.stores.base import Store
from costscope.stores.lost import LostListeners
from costscope.stores.registry import open_store

__all__ = ["LostListeners", "Store", "open_store"]
