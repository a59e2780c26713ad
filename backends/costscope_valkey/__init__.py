"""The Valkey store: any number of processes, durable, one script for a batch. `valkey://`, `embedded://`."""

from costscope_valkey.store import ValkeyStore, open_embedded, open_url

__all__ = ["ValkeyStore", "open_embedded", "open_url"]
