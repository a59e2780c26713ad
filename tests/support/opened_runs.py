"""Runs that a test enters and leaves at will, by a plain function or on an event loop."""

from __future__ import annotations

import contextvars

from costscope import budget_scope
from costscope.context import set_current_scope
from costscope.scope.scope import state_of

__all__ = ["OpenedRuns", "make_current"]


class OpenedRuns:
    """Each is entered in a context of its own, so that none is nested in another one."""

    def __init__(self, runtime, colour) -> None:
        self.runtime = runtime
        self._colour = colour

    def enter(self, **given):
        """Open a scope; returns what is to be left, and the scope."""
        opener = budget_scope(runtime=self.runtime, **given)
        if self._colour.name == "async":
            return opener, self._colour.run(opener.__aenter__)
        return opener, contextvars.copy_context().run(opener.__enter__)

    def leave(self, opener, error=None) -> None:
        """Leave it by this exception, or as usual."""
        said = (type(error) if error is not None else None, error, None)
        if self._colour.name == "async":
            self._colour.run(opener.__aexit__, *said)
        else:
            opener.__exit__(*said)


def make_current(scope) -> None:
    """Have what is called from here on, in this context, charged to the scope."""
    set_current_scope(state_of(scope))
