"""Ids of budgets and routes, and names of webhooks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from costscope.policy.document import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costscope.policy.document import Steps

__all__ = ["id_problems", "is_id"]

_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def is_id(text: str) -> bool:
    """True if the text can be an id: it becomes part of account keys and of records."""
    return _ID.fullmatch(text) is not None


def id_problems(text: str, before: Sequence[str], where: str) -> Iterator[tuple[Steps, str]]:
    """What is wrong with an id, of which these came before in the same list."""
    if not is_id(text):
        yield ("id",), f"{cut(text)} is no id; use 1 to 64 letters, digits and _ . -"
    if text in before:
        yield ("id",), f"{cut(text)} is the id of {where}[{before.index(text)}] too; ids are unique"
