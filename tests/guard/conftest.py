"""A guard on each store, its hooks in both colours, and its books."""

from __future__ import annotations

import pytest
from running import Books, books, colour, make_runtime, make_store, patient_url, policy, runtime, store_kind

from costscope import Guard

__all__ = ["books", "colour", "make_runtime", "make_store", "patient_url", "policy", "runtime", "store_kind"]

PRICES = {"big": {"input": "10", "output": "20"}, "small": {"input": "1", "output": "2"}}


class Hooks:
    """The hooks of a guard in one colour, under the names of the plain ones."""

    def __init__(self, guard: Guard, colour) -> None:
        self.guard = guard
        self._colour = colour

    def __getattr__(self, name):
        if self._colour.name == "sync":
            return getattr(self.guard, name)
        return lambda *args, **kwargs: self._colour.run(getattr(self.guard, f"a{name}"), *args, **kwargs)


@pytest.fixture
def guarded(make_runtime, colour):
    """Makes hooks on a runtime with this policy; `.books` are its books."""

    def make(*budgets, **rest):
        document = {"prices": {"models": PRICES}, "budgets": list(budgets), **rest}
        options = document.pop("options", {})
        acting = make_runtime(policy=document, **options)
        hooks = Hooks(Guard(acting), colour)
        hooks.runtime, hooks.books = acting, Books(acting)
        return hooks

    return make
