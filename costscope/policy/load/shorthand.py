"""The short forms of a policy file, written out: `thresholds: [50, 80]`, `actions: [log]`, `on_denied: {wait: 30s}`.

Works on plain data of any shape: what is not understood here stays as it is, for the decoder to complain about. Every
part that moves remembers where it stood, so that a complaint names what the user wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from costscope.policy.model.actions import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.policy.load.document import Document, Steps

_ALSO: Final = {word: name for name, row in ACTIONS.items() for word in row.also}
_ON_DENIED: Final = {"return": "value", "wait": "timeout"}

# Plain data is of no type that says more than Any.
Rewrite: TypeAlias = "Callable[[Rewriting, Any, Steps, Steps], Any]"
"""`(work, value, to, origin)`: the value that goes `to` a place and stood at `origin`, written out."""


class Rewriting:
    """A document that is being made of another one's parts, and where each of them stood."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._moved: dict[Steps, tuple[Document, Steps]] = {(): (document, ())}

    def note(self, to: Steps, origin: Steps) -> None:
        """Note where a part stood. One that goes where it was need not be noted, nor what is inside one that is."""
        self._moved[to] = (self._document, origin)

    def refuse(self, problem: str, origin: Steps) -> NoReturn:
        """Raise `InvalidPolicy` for a place in the document that is being rewritten."""
        self._document.refuse(problem, origin)

    def finish(self, data: object) -> Document:
        """Make the new document."""
        return self._document._replace(data=data, moved=self._moved)


def expand(document: Document) -> Document:
    """Write every short form of a document out.

    Raises:
        InvalidPolicy: a short form that is none.
    """
    work = Rewriting(document)
    return work.finish(_POLICY(work, document.data, (), ()))


def action_name(text: str) -> str:
    """Find the action that is meant: capitals and `-` make no difference. As it was written if it is none."""
    name = text.lower().replace("-", "_")
    name = _ALSO.get(name, name)
    return name if name in ACTIONS else text


def _fields(**rules: Rewrite) -> Rewrite:
    """Rewrite these fields of a mapping, each by its rule."""

    def rewrite(work: Rewriting, value: Any, to: Steps, origin: Steps) -> Any:
        if not isinstance(value, dict):
            return value
        return value | {
            field: rule(work, value[field], (*to, field), (*origin, field))
            for field, rule in rules.items()
            if field in value
        }

    return rewrite


def _each(how: Rewrite) -> Rewrite:
    def rewrite(work: Rewriting, value: Any, to: Steps, origin: Steps) -> Any:
        if not isinstance(value, list):
            return value
        return [how(work, one, (*to, index), (*origin, index)) for index, one in enumerate(value)]

    return rewrite


def _each_or_one(how: Rewrite) -> Rewrite:
    """Rewrite as `_each` does, a list or one that stands alone."""

    def rewrite(work: Rewriting, value: Any, to: Steps, origin: Steps) -> Any:
        if isinstance(value, str | dict):
            work.note((*to, 0), origin)
            return [how(work, value, (*to, 0), origin)]
        return _each(how)(work, value, to, origin)

    return rewrite


def _keep(_work: Rewriting, value: Any, _to: Steps, _origin: Steps) -> Any:
    return value


def _threshold(work: Rewriting, value: Any, to: Steps, origin: Steps) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        work.note((*to, "at"), origin)
        return {"at": value}
    return _WITH_ACTIONS(work, value, to, origin)


def _runaway(work: Rewriting, value: Any, to: Steps, origin: Steps) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    return _WITH_ACTIONS(work, value, to, origin)


def _action(work: Rewriting, value: Any, to: Steps, origin: Steps) -> Any:
    if isinstance(value, str):
        work.note((*to, "do"), origin)
        return {"do": action_name(value)}
    if not isinstance(value, dict):
        return value
    if "do" in value:
        named = value["do"]
        return {**value, "do": action_name(named) if isinstance(named, str) else named}
    if len(value) != 1:
        work.refuse(
            f"{len(value)} keys; an action is one name with what belongs to it, such as {{webhook: {{to: ops}}}}, "
            "and several actions are several items of the list",
            origin,
        )
    [(name, inner)] = value.items()
    if not isinstance(name, str):
        return value
    return _parameters(work, action_name(name), inner, to, (*origin, name))


def _parameters(work: Rewriting, do: str, inner: Any, to: Steps, origin: Steps) -> dict[Any, Any]:
    """Write `{do: inner}` as one mapping."""
    work.note((*to, "do"), origin)
    if isinstance(inner, dict):
        for key in inner:
            work.note((*to, key), (*origin, key))
        if "do" in inner:
            work.refuse(f"do stands for the action's name, which is {do} already; remove it", (*origin, "do"))
        return {**inner, "do": do}
    if inner is None or do not in ACTIONS:
        return {"do": do}
    row = ACTIONS[do]
    field = row.value
    if field is None or isinstance(inner, list):
        takes = f"a mapping such as {{{row.fields[0]}: 0.5}}" if row.fields else "no value"
        work.refuse(f"{do} takes {takes if field is None else 'one value'}, not this", origin)
    work.note((*to, field), origin)
    return {"do": do, field: inner}


def _on_denied(work: Rewriting, value: Any, to: Steps, origin: Steps) -> Any:
    if isinstance(value, str):
        work.note((*to, "do"), origin)
        return {"do": value}
    if not isinstance(value, dict) or "do" in value:
        return value
    name = next(iter(value), None)
    if len(value) != 1 or name not in _ON_DENIED:
        work.refuse("on_denied is `raise`, `{return: VALUE}` or `{wait: 30s}`", origin)
    field = _ON_DENIED[name]
    work.note((*to, "do"), (*origin, name))
    work.note((*to, field), (*origin, name))
    return {"do": name, field: value[name]}


def _stage(work: Rewriting, value: Any, to: Steps, origin: Steps) -> Any:
    if not isinstance(value, dict) or "fallback" not in value:
        return _FALLBACKS(work, value, to, origin)
    to, origin = (*to, "fallbacks"), (*origin, "fallback")
    if "fallbacks" in value:
        work.refuse("fallback and fallbacks; keep one of them", origin)
    work.note(to, origin)
    found = {field: inner for field, inner in value.items() if field != "fallback"}
    return found | {"fallbacks": _each_or_one(_keep)(work, value["fallback"], to, origin)}


_WITH_ACTIONS: Final = _fields(actions=_each_or_one(_action))
_FALLBACKS: Final = _fields(fallbacks=_each_or_one(_keep))
_ROUTE: Final = _fields(models=_each_or_one(_keep), stages=_each(_stage))
_BUDGET: Final = _fields(thresholds=_each(_threshold), on_denied=_on_denied)
_POLICY: Final = _fields(budgets=_each(_BUDGET), routing=_each(_ROUTE), runaway=_runaway)
