"""A policy before it is one: plain data, and where each part of it stands in the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, NoReturn

from costscope.errors import InvalidPolicy

MAX_BYTES: Final = 256 * 1024
"""The largest policy file; a real one has a few kilobytes."""

MAX_DEPTH: Final = 32
"""The deepest nesting; the schema itself has a depth of six."""

_MAX_NODES: Final = MAX_BYTES
"""A file of `MAX_BYTES` cannot hold more values than bytes; data built from shared parts can (billion laughs)."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_SHOWN: Final = 60
_PROBLEM_MAX: Final = 600
"""Messages may quote what the file says; a file may say 200 kB on one line."""

Steps = tuple[str | int, ...]
"""A place in a document: the keys and indexes that lead to it."""

Problem = tuple[Steps, str]
"""What is wrong, and at which place."""

LineFinder = Callable[[Steps], int | None]
"""The 1-based line of a place, or None when it is not known."""


class Place(NamedTuple):
    """Where something stands, for people: `budgets.yaml:7: $.budgets[0].limits.cost`."""

    file: str | None
    line: int | None
    path: str

    def __str__(self) -> str:
        where = self.file or "<policy>"
        return f"{where}: {self.path}" if self.line is None else f"{where}:{self.line}: {self.path}"


class Document(NamedTuple):
    """What a parser hands on, or what was made of that."""

    data: object
    file: str | None = None
    line: LineFinder = lambda _steps: None
    moved: Mapping[Steps, tuple[Document, Steps]] = {}
    """Of data that was put together or rewritten: where its parts stood before. What is not named here stood where the
    nearest part around it did."""

    def place(self, steps: Steps) -> Place:
        """Find where a part of the data was written; its line is that of the nearest part that has one."""
        for length in range(len(steps), -1, -1):
            before = self.moved.get(steps[:length])
            if before is not None:
                document, start = before
                return document.place((*start, *steps[length:]))
        for length in range(len(steps), -1, -1):
            line = self.line(steps[:length])
            if line is not None:
                return Place(self.file, line, show(steps))
        return Place(self.file, None, show(steps))

    def refuse(self, problem: str, steps: Steps) -> NoReturn:
        """Raise `InvalidPolicy` for a place."""
        file, line, path = self.place(steps)
        raise InvalidPolicy(one_line(problem), file=file, line=line, path=path)


def show(steps: Steps) -> str:
    """Write `("budgets", 0, "limits", "cost")` as `$.budgets[0].limits.cost`."""
    text = "$"
    for step in steps:
        if isinstance(step, str) and _PLAIN_KEY.fullmatch(step):
            text += f".{step}"
        else:
            text += f"[{cut(step)}]"
    return text


def cut(value: object) -> str:
    """Shorten a value for a message: on one line, in ASCII, never kilobytes of it."""
    if isinstance(value, str):
        return ascii(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!a}..."
    return ascii(value) if isinstance(value, int | float | None) else f"<{type(value).__name__}>"


def suggest(word: str, known: Sequence[str]) -> str:
    """Suggest what may have been meant by a word that is none of the known ones; without such, list them."""
    near = difflib.get_close_matches(word[:128], known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def one_line(problem: str) -> str:
    """Cut a message that quotes a file, and make it printable: what a file says must not forge a line of a log."""
    cut_off = problem if len(problem) <= _PROBLEM_MAX else f"{problem[:_PROBLEM_MAX]}..."
    if cut_off.isprintable():
        return cut_off
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in cut_off)


def copy_plain(document: Document) -> Document:
    """Copy a document's data into dicts and lists of its own, within the limits of depth and size.

    For data from a caller or from a parser without limits; what the YAML reader builds is within them.

    Raises:
        InvalidPolicy: nested too deeply (data that contains itself is), or too large.
    """
    left = _MAX_NODES

    def copy(node: object, steps: Steps) -> object:
        nonlocal left
        left -= 1
        if len(steps) > MAX_DEPTH:
            document.refuse(f"nested more than {MAX_DEPTH} levels deep; a policy needs six", steps[:4])
        if left < 0:
            document.refuse(f"more than {_MAX_NODES} values; a policy is a few kilobytes", ())
        if isinstance(node, Mapping):
            return {key: copy(value, (*steps, key)) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [copy(value, (*steps, index)) for index, value in enumerate(node)]
        # A Decimal says what its text says; msgspec would not take it for an amount.
        return format(node, "f") if isinstance(node, Decimal) else node

    return document._replace(data=copy(document.data, ()))
