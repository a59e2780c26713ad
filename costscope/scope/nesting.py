"""What a scope has from the scopes around it: labels that it may not change, limits that hold for it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.context import ambient_scope
from costscope.errors import InvalidLabel
from costscope.ledger import MAX_AMOUNT, new_id
from costscope.policy import inline_account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.ledger import Account
    from costscope.scope.runtime import Runtime
    from costscope.scope.scope import Scope

__all__ = ["inherited", "inline_accounts", "innermost", "open_scope_of"]


def innermost(runtime: Runtime) -> Scope | None:
    """The innermost open scope of this runtime in the current context."""
    return open_scope_of(runtime, ambient_scope())


def open_scope_of(runtime: Runtime, scope: Scope | None) -> Scope | None:
    """The first scope of this runtime that is open, from this one outwards."""
    while scope is not None and (scope.closed or scope.runtime is not runtime):
        scope = scope.outer
    return scope


def inherited(parent: Scope | None, own: dict[str, str]) -> dict[str, str]:
    """The labels in effect in a scope with these of its own.

    Raises:
        InvalidLabel: it would change one.
    """
    if parent is None:
        return own
    for name, value in own.items():
        above = parent.labels.get(name, value)
        if above != value:
            msg = f"label {name}={value!r}: the enclosing scope has {name}={above!r}, and a child may not change what it inherited; use another label name, or open the scope outside"
            raise InvalidLabel(msg)
    return {**parent.labels, **own}


def inline_accounts(
    parent: Scope | None, labels: dict[str, str], own: Mapping[str, str], limits: Mapping[str, int]
) -> tuple[Account, ...]:
    """The accounts of the limits that were set on scopes: on this one, and on those around it.

    Args:
        parent: the scope around it.
        labels: all in effect.
        own: those it was given.
        limits: set on itself.
    """
    above = parent.inline if parent is not None else ()
    if not limits:
        return above
    assert all(0 <= limit <= MAX_AMOUNT for limit in limits.values()), (
        "limits are checked where they are given"
    )
    added = parent is None or any(name not in parent.labels for name in own)
    shared = added and "run" in labels
    opens_run = shared and (parent is None or parent.run is None)
    unique = None if shared else new_id()
    return (
        inline_account(labels, limits, shared=shared, unique=unique, halts=opens_run),
        *above,
    )
