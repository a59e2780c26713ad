"""What is ambient: the innermost scope and the metered call in progress, carried by contextvars.

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

    from costscope.engine.state.call import Call
    from costscope.scope.scope import Scope

__all__ = ["ambient_call", "ambient_scope", "set_ambient_call", "set_ambient_scope"]


class _Ambient(ContextVarsRegistry):
    _registry_allocate_on_setattr = False

    # Not annotated: the registry evaluates annotations when the class is made, and these types import this module.
    scope = ContextVarDescriptor(default=None)
    call = ContextVarDescriptor(default=None)


_scope: ContextVar[Scope | None] = cast(
    "Any", _Ambient.scope.context_var
)  # the library types the default only
_call: ContextVar[Call | None] = cast("Any", _Ambient.call.context_var)

# Bound once: `ContextVarExt.get` costs 60-190 ns for features not used here, the variable's own get 10 ns.
ambient_scope: Final = _scope.get
set_ambient_scope: Final = _scope.set
ambient_call: Final = _call.get
set_ambient_call: Final = _call.set
