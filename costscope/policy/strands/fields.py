"""Reading the mappings of another format: every field is asked for by name, and the rest is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from costscope.policy.load.decode import unknown_field, wrong_choice
from costscope.policy.load.document import cut
from costscope.policy.model.patterns import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.policy.load.document import Steps
    from costscope.policy.load.shorthand import Rewriting

LABELS: Final = {f"{name}_id": name for name in LEVELS}
"""The format's names of what costscope has as labels."""

_NOTHING: Final = object()


class Fields:
    """One mapping of the document that is being translated.

    Values go on as they are: whether they are of the right type is the decoder's matter, which names the place they
    came from.
    """

    def __init__(self, work: Rewriting, value: object, origin: Steps) -> None:
        self.work = work
        self.origin = origin
        if not isinstance(value, dict):
            self.refuse(f"expected a mapping, got {cut(value)}")
        self._values: dict[Any, Any] = value
        self._asked: list[str] = []

    def take(self, field: str, default: object = None) -> Any:
        """Take the value of a field; null counts as left out."""
        self._asked.append(field)
        value = self._values.get(field)
        return default if value is None else value

    def has(self, field: str) -> bool:
        """Tell whether a field is there, and not null."""
        return self._values.get(field) is not None

    def choice(self, field: str, choices: Mapping[str, str], default: str) -> str:
        """Read what one of these words stands for."""
        value = self.take(field, default)
        if not isinstance(value, str) or value not in choices:
            self.refuse(wrong_choice(value, tuple(choices)), field)
        return choices[value]

    def switch(self, field: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self.take(field, default)
        if not isinstance(value, bool):
            self.refuse(f"expected true or false, got {cut(value)}", field)
        return value

    def move(self, field: str, into: dict[str, Any], name: str, to: Steps) -> None:
        """Put the value of a field, if there is one, `into` a mapping that goes `to` a place."""
        value = self.take(field, _NOTHING)
        if value is not _NOTHING:
            into[name] = value
            self.note_origin(field, (*to, name))

    def note_origin(self, field: str, to: Steps) -> None:
        """Note that what is at `to` stood in this field."""
        self.work.note(to, (*self.origin, field))

    def refuse(self, problem: str, *steps: str | int) -> NoReturn:
        """Raise `InvalidPolicy` for a place in this mapping."""
        self.work.refuse(problem, (*self.origin, *steps))

    def items(self, field: str) -> list[Any]:
        """Read a list, empty if the field is left out."""
        value = self.take(field, [])
        if not isinstance(value, list):
            self.refuse(f"expected a list, got {cut(value)}", field)
        return value

    def inner(self, field: str) -> Fields:
        """Read the mapping in a field, empty if it is left out."""
        return Fields(self.work, self.take(field, {}), (*self.origin, field))

    def names(self) -> list[Any]:
        """List the keys."""
        return list(self._values)

    def refuse_rest(self, **not_here: str) -> None:
        """Refuse the fields that were not asked for.

        Args:
            not_here: fields that the format has and costscope does not, and what to do instead.
        """
        for field in self._values:
            if field in not_here:
                self.refuse(f"{field} is not supported here; {not_here[field]}", field)
            if field not in self._asked:
                self.refuse(unknown_field(str(field), tuple(self._asked)), field)


def match_of(fields: Fields, to: Steps) -> dict[str, Any]:
    """Read the labels of a `match`; `*` is left out, since it stands for any value and for none."""
    given, found = fields.inner("match"), {}
    fields.note_origin("match", (*to, "match"))
    for name, label in LABELS.items():
        value = given.take(name)
        if value is None or value == "*":
            continue
        if not isinstance(value, str) and not (isinstance(value, list) and all(map(_is_text, value))):
            given.refuse(f"expected text or a list of texts, got {cut(value)}", name)
        found[label] = value
        given.note_origin(name, (*to, "match", label))
    given.refuse_rest()
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str)
