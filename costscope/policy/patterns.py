"""How a budget's `match` decides about a label's value: exact text, or a glob in which `*` is any text."""

from __future__ import annotations

__all__ = ["is_glob", "matches"]


def is_glob(pattern: str) -> bool:
    """True if the pattern has a `*`; nothing else is special."""
    return "*" in pattern


def matches(pattern: str, value: str) -> bool:
    """True if the whole value fits the pattern. Case-sensitive; linear, whatever the pattern and the value.

    Not a regular expression: values come from users, and `*a*a*a*b` would make one backtrack for minutes.
    """
    if not is_glob(pattern):
        return pattern == value
    first, *middle, last = pattern.split("*")
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    position, end = len(first), len(value) - len(last)
    for part in middle:
        # The leftmost place leaves the most room for the parts that follow.
        found = value.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True
