"""A runtime on each store, its books, and both colours of function."""

from running import books, colour, make_runtime, make_store, patient_url, policy, runtime, store_kind

__all__ = ["books", "colour", "make_runtime", "make_store", "patient_url", "policy", "runtime", "store_kind"]
