"""What a label may be, and how one becomes part of an account's key.

Labels come from user input more often than one would like, and they end up in keys, logs and metrics. So a
name is an identifier, a value is short printable text in one normal form, and `encode` leaves no character
that could end a key's part early: `a:b` and `a` + `b` never meet.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from costscope.errors import InvalidLabel

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NAME: Final = 64
"""Characters in a label's name."""

MAX_VALUE: Final = 128
"""Characters in a label's value, after NFC normalisation."""

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_COMPOSED_FROM: Final = 4
"""NFC joins at most four characters into one, so a longer text than this cannot shrink enough to fit;
normalising ten megabytes to find that out would be a gift to an attacker."""

_FORBIDDEN: Final = {
    "Cc": "a control character",
    "Cs": "a lone surrogate",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_SHOWN: Final = 40


def check_labels(labels: Mapping[str, object]) -> dict[str, str]:
    """Check labels and return them as the ledger uses them: plain strings, normalised to NFC.

    Args:
        labels: name to value. Values are compared case-sensitively after normalisation.

    Returns:
        A new dict, in the order given.

    Raises:
        InvalidLabel: a name that is not `[a-z_][a-z0-9_]*` of at most 64 characters, or a value that is not
            text of 1 to 128 characters free of control characters and lone surrogates.
    """
    checked: dict[str, str] = {}
    for name, value in labels.items():
        # Nearly every label is short ASCII; this runs at every scope entry, so that case takes no detour.
        if (
            type(value) is str
            and type(name) is str
            and 0 < len(value) <= MAX_VALUE
            and value.isascii()
            and value.isprintable()
            and _good_name(name)
        ):
            checked[name] = value
        else:
            plain_name, plain_value = _check_label(name, value)
            checked[plain_name] = plain_value
    return checked


def normalise_value(value: str) -> str:
    """Bring a label's value into NFC: two spellings of `é` are one tenant."""
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def name_problem(name: object) -> str | None:
    """Say why this cannot be a label's name, as the end of a sentence that starts with the name; None if it can."""
    if not isinstance(name, str):
        return f"is a {type(name).__name__}; a label's name is text such as 'tenant'"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters, the limit is {MAX_NAME}; use a shorter name"
    if not _NAME.fullmatch(name):
        return "is not a label name; use lower-case letters, digits and _ and do not start with a digit"
    return None


def value_problem(value: object) -> str | None:
    """Say why this cannot be a label's value, as the end of a sentence; None if it can."""
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, not text; pass a str, for example str(value)"
    if not value:
        return f"is empty; give it 1 to {MAX_VALUE} characters or leave the label out"
    if len(value) > MAX_VALUE * _COMPOSED_FROM or len(normalise_value(value)) > MAX_VALUE:
        return f"has {len(value)} characters, the limit is {MAX_VALUE}; use a shorter id or a hash of it"
    for position, character in enumerate(value):
        kind = _FORBIDDEN.get(unicodedata.category(character))
        if kind:
            return f"has {kind} (U+{ord(character):04X}) at position {position}; remove it or escape it"
    return None


@functools.lru_cache(maxsize=1024)
def encode(text: str) -> str:
    """Percent-encode a text: only ASCII letters, digits and `-_.~` stay as they are.

    No separator of a key (`/`, `,`, `=`, `:`, `{`, `}`) survives, and decoding gives the text back, so
    different texts always have different encodings.
    """
    return quote(text, safe="-_.")


def _good_name(name: str) -> bool:
    return len(name) <= MAX_NAME and name.isascii() and name.isidentifier() and name.lower() == name


def _check_label(name: object, value: object) -> tuple[str, str]:
    wrong = name_problem(name)
    if wrong or not isinstance(name, str):
        msg = f"label {_cut(name)} {wrong}"
        raise InvalidLabel(msg)
    wrong = value_problem(value)
    if wrong or not isinstance(value, str):
        msg = f"label {name}: {_cut(value)} {wrong}"
        raise InvalidLabel(msg)
    # A subclass (a StrEnum member) becomes the plain text it stands for; its own __str__ may say otherwise.
    return str.__str__(name), normalise_value(str.__str__(value))


def _cut(value: object) -> str:
    """Shorten a value for a message: on one line, ASCII, and never the ten kilobytes that were sent."""
    if not isinstance(value, str):
        return f"<{type(value).__name__}>"
    return ascii(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!a}..."
