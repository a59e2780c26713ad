"""A runtime on each store, its books, both colours of function, and processes that do what they are told."""

from run_agent import make_agent
from running import books, colour, make_runtime, make_store, patient_url, policy, runtime, store_kind

__all__ = [
    "books",
    "colour",
    "make_agent",
    "make_runtime",
    "make_store",
    "patient_url",
    "policy",
    "runtime",
    "store_kind",
]
