"""YAML read so that nothing changes its meaning on the way, and nothing costs more than its size.

The parser's events are built into plain data here, without PyYAML's composer and constructor: no recursion
(200 kB of brackets end at depth 32, not on the C stack), no aliases to multiply, no tags to run, and each
value's line at hand. Plain scalars on which the versions of YAML disagree (`010` is 8 or 10, `1:30` is 90 or
text) are refused; words such as `no` and dates are the text they are in YAML 1.2.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

import yaml
from yaml import events

from costscope.errors import InvalidPolicy
from costscope.policy.load.document import MAX_DEPTH, Document, Steps, cut, one_line, show

_NULL: Final = frozenset({"null", "Null", "NULL", "~"})
_BOOL: Final = {"true": True, "false": False}
_INT: Final = re.compile(r"-?(0|[1-9][0-9]{0,39})", re.ASCII)
_FLOAT: Final = re.compile(r"-?(0|[1-9][0-9]{0,19})\.[0-9]{1,20}", re.ASCII)
_NUMBER_SOMEWHERE: Final = re.compile(
    r"""[-+]?(
        [0-9][0-9_]*                                # 010, 1_000, +5
      | 0[xX][0-9a-fA-F_]+ | 0[bB][01_]+ | 0o[0-7]+
      | [0-9][0-9_]*(:[0-9]{1,2})+(\.[0-9_]*)?      # sexagesimal: 1:30 is 90
      | ([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?
      | \.(inf|Inf|INF)
    ) | \.(nan|NaN|NAN)""",
    re.ASCII | re.VERBOSE,
)
"""What YAML 1.1, YAML 1.2 or PyYAML reads as a number."""


def parse_yaml(text: str, file: str | None = None) -> Document:
    """Read one YAML document as plain data, with the line of every part.

    Args:
        text: the file's text.
        file: its name, for errors.

    Raises:
        InvalidPolicy: not YAML, or YAML of a kind that is refused here.
    """
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.feed(event)
    except InvalidPolicy:
        raise  # a ValueError too, and it has said everything
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        line = mark.line + 1 if mark else None
        problem = one_line(f"not valid YAML: {what}")
        raise InvalidPolicy(problem, file=file, line=line, path=show(builder.place)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML; remove it"
        raise InvalidPolicy(problem, file=file, line=line) from error
    except (ValueError, OverflowError) as error:
        # PyYAML lets chr() and int() speak for themselves: "\UFFFFFFFF", a %YAML version of 5,000 digits.
        problem = one_line(f"not valid YAML: {error}")
        raise InvalidPolicy(problem, file=file, line=builder.line) from error
    return builder.document()


class _Frame:
    """A mapping or sequence that is being filled."""

    __slots__ = ("key", "node", "steps")

    def __init__(self, node: dict[str, object] | list[object], steps: Steps) -> None:
        self.node = node
        self.steps = steps
        self.key: str | None = None


class _Builder:
    """Plain data from a stream of parser events."""

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.line = 1
        self.place: Steps = ()
        self.lines: dict[Steps, int] = {}
        self.roots: list[object] = []
        self.stack: list[_Frame] = []

    def document(self) -> Document:
        if not self.roots:
            self.refuse("the file is empty; write at least `budgets: []`")
        return Document(self.roots[0], self.file, self.lines.get)

    def refuse(self, problem: str) -> NoReturn:
        raise InvalidPolicy(one_line(problem), file=self.file, line=self.line, path=show(self.place))

    def feed(self, event: events.Event) -> None:
        if event.start_mark is not None:
            self.line = event.start_mark.line + 1
        if isinstance(event, events.NodeEvent):
            self.check_node(event)
        if isinstance(event, events.ScalarEvent):
            self.scalar(event)
        elif isinstance(event, events.MappingStartEvent):
            self.open({})
        elif isinstance(event, events.SequenceStartEvent):
            self.open([])
        elif isinstance(event, events.CollectionEndEvent):
            self.place = self.stack.pop().steps
        elif isinstance(event, events.DocumentStartEvent) and self.roots:
            self.refuse("a second document begins; a policy is one document, keep it in one file")

    def check_node(self, event: events.NodeEvent) -> None:
        if isinstance(event, events.AliasEvent):
            self.refuse(f"alias *{event.anchor}: anchors and aliases are not supported; write the value out")
        if event.anchor is not None:
            self.refuse(f"anchor &{event.anchor}: anchors and aliases are not supported; write the value out")
        if isinstance(event, events.ScalarEvent | events.CollectionStartEvent) and event.tag is not None:
            self.refuse(f"tag {cut(event.tag)}: tags are not supported; write the value without it")

    def open(self, node: dict[str, object] | list[object]) -> None:
        steps = self.add(node)
        if len(self.stack) >= MAX_DEPTH:
            self.place = steps[:4]
            self.refuse(f"nested more than {MAX_DEPTH} levels deep; a policy needs six")
        self.stack.append(_Frame(node, steps))

    def scalar(self, event: events.ScalarEvent) -> None:
        frame = self.stack[-1] if self.stack else None
        quoted = bool(event.style)
        if frame is not None and isinstance(frame.node, dict) and frame.key is None:
            self.set_key(frame, frame.node, event.value, quoted=quoted)
        elif frame is None and not quoted and not event.value:
            self.refuse("the file is empty; write at least `budgets: []`")
        else:
            self.place = self.next_place()
            self.add(self.text(event.value) if quoted else self.resolve(event.value))

    def set_key(self, frame: _Frame, node: dict[str, object], text: str, *, quoted: bool) -> None:
        self.place = (*frame.steps, text)
        key = self.text(text) if quoted else self.resolve(text)
        if key == "<<" and not quoted:
            self.refuse("merge keys (<<) are not supported; write the fields out")
        if not isinstance(key, str):
            self.refuse(f"the key {cut(text)} is not text; quote it")
        if key in node:
            self.refuse(f"duplicate key {cut(key)}, first on line {self.lines[*frame.steps, key]}; keep one")
        self.lines[*frame.steps, key] = self.line
        frame.key = key

    def next_place(self) -> Steps:
        if not self.stack:
            return ()
        frame = self.stack[-1]
        return (*frame.steps, len(frame.node) if isinstance(frame.node, list) else frame.key or "")

    def add(self, value: object) -> Steps:
        """Put a value where the next one belongs and say where that is."""
        frame = self.stack[-1] if self.stack else None
        if frame is not None and isinstance(frame.node, dict) and frame.key is None:
            self.refuse("a mapping or list as a key; keys are text")
        self.place = self.next_place()
        # A mapping's value is found by its key's line, which is set by then.
        self.lines.setdefault(self.place, self.line)
        if frame is None:
            self.roots.append(value)
        elif isinstance(frame.node, list):
            frame.node.append(value)
        elif frame.key is not None:
            frame.node[frame.key] = value
            frame.key = None
        return self.place

    def text(self, value: str) -> str:
        if any("\ud800" <= character <= "\udfff" for character in value):
            self.refuse(f"{cut(value)} has a lone surrogate; remove the escape")
        return value

    def resolve(self, value: str) -> object:
        """Read a plain scalar as null, a bool, a number or text; what could be two of these is refused."""
        if not value:
            self.refuse('the value is missing; write it, or null, or "" for empty text')
        if value in _NULL:
            return None
        if value in _BOOL:
            return _BOOL[value]
        if _INT.fullmatch(value):
            return int(value)
        if _FLOAT.fullmatch(value):
            return float(value)
        if _NUMBER_SOMEWHERE.fullmatch(value):
            self.refuse(
                f"{cut(value)} is ambiguous or no plain number; "
                f'quote it ("{value[:20]}") if it is text, else write digits such as 1000 or 0.15'
            )
        return value
