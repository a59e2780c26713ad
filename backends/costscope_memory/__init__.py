"""The memory store: one process, not durable, and the fastest. `memory://`."""

from costscope_memory.store import MemoryStore, open_url

__all__ = ["MemoryStore", "open_url"]
