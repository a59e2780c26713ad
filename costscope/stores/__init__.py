"""Stores: where the books are kept, chosen by URL."""

from costscope.stores.base import LostListeners, Store
from costscope.stores.registry import open_store

__all__ = ["LostListeners", "Store", "open_store"]
