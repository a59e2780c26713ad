"""A runtime on each store, both colours of function, and a clock that is moved by hand."""

from moved_clock import moved, moved_clock, moved_store
from running import colour, make_runtime, make_store, patient_url, policy, store_kind

__all__ = [
    "colour",
    "make_runtime",
    "make_store",
    "moved",
    "moved_clock",
    "moved_store",
    "patient_url",
    "policy",
    "store_kind",
]
