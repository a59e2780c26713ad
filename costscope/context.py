"""The scope and the metered call of the current context, carried by contextvars.

The only module that imports contextvars-extras, which is unmaintained: tests pin what is relied on here. Of its
registry only what is sound is used: allocation off (a misspelt attribute would create a variable), plain get
and set. Values are restored by value and never by Token: a Token may only be reset in the context it was made
in, and frameworks close scopes in another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from contextvars_extras import ContextVarDescriptor, ContextVarsRegistry  # noqa: TID251 - this is the one place

if TYPE_CHECKING:
    from contextvars import ContextVar


class _Context(ContextVarsRegistry):
    _registry_allocate_on_setattr = False

    scope = ContextVarDescriptor(default=None)
    call = ContextVarDescriptor(default=None)


# Any: `ScopeState | None` and `Call | None`, whose modules stand above this one; those who read say the type.
_scope: ContextVar[Any] = cast("Any", _Context.scope.context_var)  # the library types the default only
_call: ContextVar[Any] = cast("Any", _Context.call.context_var)

# Bound once: `ContextVarExt.get` costs 60-190 ns for features not used here, the variable's own get 10 ns.
current_scope: Final = _scope.get
set_current_scope: Final = _scope.set
current_call: Final = _call.get
set_current_call: Final = _call.set
