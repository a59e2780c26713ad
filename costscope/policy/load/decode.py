"""From plain data to a `Policy`, with every complaint at the place it is about.

msgspec checks the shape. Its paths stop short where a mapping's keys are free (`limits[...]`), and its words
are JSON's; both are put right here.
"""

from __future__ import annotations

import difflib
import re
import types
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import msgspec

from costscope.policy.load.document import Document, Steps, cut, suggest
from costscope.policy.model.schema import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def fields_at(steps: Steps) -> tuple[str, ...]:
    """Find the fields of the struct that stands at a place; none if there is no struct."""
    return tuple(name for shape in _shapes(steps) if _is_struct(shape) for name in shape.__struct_fields__)


def choices_at(steps: Steps) -> tuple[str, ...]:
    """Find the words that may stand at a place; none if it is no matter of choice."""
    return tuple(word for shape in _shapes(steps) if get_origin(shape) is Literal for word in get_args(shape))


# A type annotation is a value of no type that could be named here, so these speak of Any.
def _shapes(steps: Steps) -> list[Any]:
    shapes: list[Any] = [Policy]
    for step in steps:
        shapes = [inner for shape in shapes for inner in _inside(shape, step)]
    return shapes


def _inside(shape: Any, step: str | int) -> Iterator[Any]:
    if _is_struct(shape):
        yield from _alternatives(get_type_hints(shape).get(str(step)))
    elif get_origin(shape) is dict:
        yield from _alternatives(get_args(shape)[1])
    elif get_origin(shape) is tuple:
        yield from _alternatives(get_args(shape)[0])


def _alternatives(shape: Any) -> Iterator[Any]:
    if get_origin(shape) in {Union, types.UnionType}:
        for one in get_args(shape):
            yield from _alternatives(one)
    else:
        yield shape


def _is_struct(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, msgspec.Struct)


_PATH: Final = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`\Z")
_STEP: Final = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")
_UNKNOWN_FIELD: Final = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_MISSING_FIELD: Final = re.compile(r"Object missing required field `(\w+)`\Z")
_WRONG_TYPE: Final = re.compile(r"Expected `([^`]*)`, got `([^`]*)`\Z")

_WORDS: Final = {
    "object": "a mapping",
    "array": "a list",
    "str": "text",
    "int": "a whole number",
    "float": "a decimal number",
    "bool": "true or false",
    "null": "null",
}

_SUBJECT: Final = re.compile(r"([^\s:]+)( \([^)]*\))?: ")
"""How the checks of the prices begin: `input (per million tokens): ...`, `tools.search: ...`."""


def decode(document: Document) -> Policy:
    """Decode the document as a policy whose shape is right; `costscope.policy.checks` looks at what it says.

    Raises:
        InvalidPolicy: the first thing that does not fit the schema.
    """
    policy = _convert(document.data)
    if isinstance(policy, str):
        _refuse(document, policy)
    return policy


def _convert(data: object) -> Policy | str:
    """Return the policy, or msgspec's complaint."""
    try:
        return msgspec.convert(data, Policy)
    except msgspec.ValidationError as error:
        return str(error)
    except UnicodeEncodeError:
        return "a lone surrogate in a key; keys are text"


def _refuse(document: Document, message: str) -> NoReturn:
    found = _PATH.search(message)
    problem = message[: found.start()] if found else message
    steps = _steps(document.data, found["path"], message) if found else ()
    if found and found["key"]:
        document.refuse("every key is text; quote the one that is not", steps)
    if unknown := _UNKNOWN_FIELD.match(problem):
        document.refuse(unknown_field(unknown[1], fields_at(steps)), (*steps, unknown[1]))
    if missing := _MISSING_FIELD.match(problem):
        document.refuse(f"the field {missing[1]} is missing; add it", steps)
    if wrong := _WRONG_TYPE.match(problem):
        document.refuse(_wrong_type(wrong[1], wrong[2]), steps)
    if problem.startswith("Invalid enum value"):
        document.refuse(wrong_choice(_at(document.data, steps), choices_at(steps)), steps)
    subject = _SUBJECT.match(problem)
    inner: Steps = tuple(subject[1].split(".", 1)) if subject else ()
    document.refuse(problem, (*steps, *inner) if _at(document.data, (*steps, *inner)) is not None else steps)


def unknown_field(name: str, fields: tuple[str, ...]) -> str:
    """Say what is wrong with a field that is none of these."""
    return f"unknown field {cut(name)}; {suggest(name, fields)}"


def _wrong_type(expected: str, got: str) -> str:
    kinds = expected.split(" | ")
    quote = "; quote it" if "str" in kinds and "int" not in kinds and got in {"int", "float", "bool"} else ""
    wanted = " or ".join(_WORDS.get(kind, kind) for kind in kinds)
    return f"expected {wanted}, got {_WORDS.get(got, got)}{quote}"


def wrong_choice(value: object, choices: tuple[str, ...]) -> str:
    """Say what is wrong with a word that is none of these."""
    near = difflib.get_close_matches(value[:64], choices, n=1) if isinstance(value, str) else ()
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{cut(value)} is none of the choices; {hint}Expected {', '.join(choices)}"


def _steps(data: object, path: str, message: str) -> Steps:
    steps: Steps = ()
    for step in _STEP.finditer(path):
        if step["any"]:
            steps = (*steps, _culprit(data, steps, message))
        else:
            steps = (*steps, step["field"] or int(step["index"]))
    return steps


def _culprit(data: object, steps: Steps, message: str) -> str:
    """Find the key under which msgspec found fault: with the other keys left out, the message stays the same."""
    here = _at(data, steps)
    keys = list(here) if isinstance(here, dict) else []
    while len(keys) > 1:
        half = keys[: len(keys) // 2]
        keys = half if _convert(_keep_keys(data, steps, half)) == message else keys[len(half) :]
    return str(keys[0]) if keys else "..."


def _at(data: object, steps: Steps) -> object:
    for step in steps:
        if isinstance(data, list):
            data = dict(enumerate(data))
        if isinstance(data, dict):
            data = data.get(step)
        else:
            return None
    return data


def _keep_keys(data: object, steps: Steps, keys: list[object]) -> object:
    """Return the data with just these keys in the mapping at that place."""
    if isinstance(data, dict):
        if not steps:
            return {key: data[key] for key in keys}
        return {**data, steps[0]: _keep_keys(data[steps[0]], steps[1:], keys)}
    if isinstance(data, list) and isinstance(steps[0], int):
        return [*data[: steps[0]], _keep_keys(data[steps[0]], steps[1:], keys), *data[steps[0] + 1 :]]
    return data
