"""The callbacks of scopes: which are called for what, and in which order over nested scopes."""

from __future__ import annotations

import pytest

from costscope import InvalidInput
from costscope.events import KINDS, Callbacks


def inner(event):
    """A callback."""


def middle(event):
    """Another."""


def outer(event):
    """A third."""


ARGUMENTS = {
    "threshold": "on_threshold",
    "denied": "on_denied",
    "downgrade": "on_downgrade",
    "runaway": "on_runaway",
    "settled": "on_settled",
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_argument_is_for_one_kind(kind):
    argument = ARGUMENTS.get(kind)
    if argument is not None:
        assert Callbacks(**{argument: inner}).of(kind) == (inner,)
        assert Callbacks(**{argument: (inner, outer)}).of(kind) == (inner, outer)
    others = Callbacks(**{other: inner for other in ARGUMENTS.values() if other != argument})
    assert others.of(kind) == ()


def test_those_of_the_innermost_scope_come_first():
    scopes = Callbacks(on_denied=inner).within(
        Callbacks(on_denied=(middle,), on_settled=middle).within(Callbacks(on_denied=outer))
    )
    assert scopes.of("denied") == (inner, middle, outer)
    assert scopes.of("settled") == (middle,)
    assert scopes.of("runaway") == ()
    assert Callbacks(on_denied=inner).within(None).of("denied") == (inner,)


@pytest.mark.parametrize("wrong", ["print", 3, (inner, None), [inner]])
@pytest.mark.parametrize("argument", ARGUMENTS.values())
def test_what_cannot_be_called_is_refused_at_once(argument, wrong):
    with pytest.raises(InvalidInput, match=f"{argument}: .* cannot be called"):
        Callbacks(**{argument: wrong})
