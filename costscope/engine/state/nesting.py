"""What a scope has from the scopes around it: labels that it may not change, limits that hold for it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.errors import InvalidLabel
from costscope.ledger import MAX_AMOUNT, new_id
from costscope.policy import inline_account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.ledger import Account


def inherit_labels(above: Mapping[str, str], own: dict[str, str]) -> dict[str, str]:
    """Return the labels in effect in a scope with these of its own.

    Args:
        above: those of the scope around it.
        own: those it was given.

    Raises:
        InvalidLabel: it would change one.
    """
    for name, value in own.items():
        inherited_value = above.get(name, value)
        if inherited_value != value:
            msg = (
                f"label {name}={value!r}: the enclosing scope has {name}={inherited_value!r}, and a child may not "
                "change what it inherited; use another label name, or open the scope outside"
            )
            raise InvalidLabel(msg)
    return {**above, **own}


def inline_accounts(
    around: tuple[Account, ...],
    above: Mapping[str, str] | None,
    labels: dict[str, str],
    own: Mapping[str, str],
    limits: Mapping[str, int],
    *,
    in_run: bool,
) -> tuple[Account, ...]:
    """Return the accounts of the limits that were set on scopes: on this one, and on those around it.

    Args:
        around: those of the scopes around it.
        above: the labels of the scope around it; None where there is none.
        labels: all in effect.
        own: those it was given.
        limits: set on itself, at least one.
        in_run: the scope around it is in a run.
    """
    assert all(0 <= limit <= MAX_AMOUNT for limit in limits.values()), (
        "limits are checked where they are given"
    )
    added = above is None or any(name not in above for name in own)
    shared = added and "run" in labels
    unique = None if shared else new_id()
    return (
        inline_account(labels, limits, shared=shared, unique=unique, halts=shared and not in_run),
        *around,
    )
