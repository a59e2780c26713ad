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
    """Return the labels in effect in a scope with these of its own, and those above of the scope around it.

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

    `around` are those of the scopes around it, of which the next has the labels `above` (None: there is none) and may be
    `in_run`. `labels` are all in effect, `own` those it was given.
    """
    assert all(0 <= limit <= MAX_AMOUNT for limit in limits.values()), "checked where they are given"
    shared = "run" in labels and (above is None or any(name not in above for name in own))
    unique = None if shared else new_id()
    mine = inline_account(labels, limits, shared=shared, unique=unique, halts=shared and not in_run)
    return (mine, *around)
