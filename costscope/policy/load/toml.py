"""TOML read with the standard library, and the line of a place found afterwards.

`tomllib` gives no positions. A line is needed only for an error, so it is found by search: a place is
defined on the line at which the shortest readable beginning of the file has it.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

from costscope.errors import InvalidPolicy
from costscope.policy.load.document import MAX_DEPTH, Document, LineFinder, Steps, copy_plain, one_line

_LINE: Final = re.compile(r"\(at line (\d+)")
_DOTS: Final = 128
"""Dots on one line. tomllib keeps every beginning of a dotted key: 125,000 parts took all memory there was."""

_PROBES: Final = 200
"""Beginnings of the file to read at most while looking for a line."""


def parse_toml(text: str, file: str | None = None) -> Document:
    """Read a TOML document as plain data.

    Raises:
        InvalidPolicy: not TOML, nested too deeply, or with a line of more than 128 dots.
    """
    if not text.strip():
        problem = "the file is empty; write at least `budgets = []`"
        raise InvalidPolicy(problem, file=file, line=1)
    for number, content in enumerate(text.split("\n"), 1):
        if content.count(".") > _DOTS:
            problem = f"more than {_DOTS} dots on one line; break a long list into several lines"
            raise InvalidPolicy(problem, file=file, line=number)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        line = int(found[1]) if found else len(text.splitlines())
        problem = one_line(f"not valid TOML: {error}")
        raise InvalidPolicy(problem, file=file, line=line) from error
    except RecursionError as error:
        problem = f"nested more than {MAX_DEPTH} levels deep; a policy needs six"
        raise InvalidPolicy(problem, file=file) from error
    except ValueError as error:  # int() of more digits than Python converts
        problem = one_line(f"not valid TOML: {error}")
        raise InvalidPolicy(problem, file=file) from error
    return copy_plain(Document(data, file, _line_finder(text)))


def _line_finder(text: str) -> LineFinder:
    lines = text.split("\n")

    def find(steps: Steps) -> int | None:
        try:
            return _Search(lines, steps).line() if steps else 1
        except _TooLongError:
            return None

    return find


class _TooLongError(Exception):
    """The search has read as many beginnings of the file as it may."""


class _Search:
    """The line on which the statement begins that defines a place."""

    def __init__(self, lines: list[str], steps: Steps) -> None:
        self.lines = lines
        self.steps = steps
        self.probes = 0

    def line(self) -> int | None:
        without, having = 0, len(self.lines)
        if not self.has_place(having):
            return None
        while having - without > 1:
            middle = (without + having) // 2
            # A cut inside a value of several lines cannot be read: look at the nearest one before that can.
            readable, defined = middle, self.has_place(middle)
            while defined is None and readable > without + 1:
                readable -= 1
                defined = self.has_place(readable)
            without, having = (without, readable) if defined else (middle, having)
        start = having - 1
        while start and self.has_place(start) is None:
            start -= 1
        return start + 1

    def has_place(self, count: int) -> bool | None:
        """Tell whether the first `count` lines have something at the place; None if they cannot be read."""
        self.probes += 1
        if self.probes > _PROBES:
            raise _TooLongError
        try:
            node: object = tomllib.loads("\n".join(self.lines[:count]))
        except ValueError:
            return None
        for step in self.steps:
            if isinstance(node, list):
                node = dict(enumerate(node))
            if not isinstance(node, dict) or step not in node:
                return False
            node = node[step]
        return True
