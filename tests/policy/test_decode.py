"""The words of msgspec that are read here, as they are: another version of it may change them."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from costscope.errors import InvalidPolicy
from costscope.policy.load import decode as module
from costscope.policy.load.document import Document
from costscope.policy.load.loader import load_policy


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    needed: int
    word: Literal["one", "two"] = "one"


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    rows: tuple[Inner, ...] = ()
    free: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"rows": [{"needed": 1, "x": 1}]}, "Object contains unknown field `x` - at `$.rows[0]`"),
        ({"rows": [{}]}, "Object missing required field `needed` - at `$.rows[0]`"),
        ({"rows": [{"needed": "1"}]}, "Expected `int`, got `str` - at `$.rows[0].needed`"),
        ({"rows": 1}, "Expected `array`, got `int` - at `$.rows`"),
        ({"rows": [{"needed": 1, "word": "three"}]}, "Invalid enum value 'three' - at `$.rows[0].word`"),
        ({"free": {"any": {"needed": None}}}, "Expected `int`, got `null` - at `$.free[...].needed`"),
        ({"free": {1: {"needed": 1}}}, "Expected `str`, got `int` - at `key` in `$.free`"),
        ({"y": 1}, "Object contains unknown field `y`"),
    ],
)
def test_msgspec_says_it_as_it_is_read(data, says):
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(data, Outer)
    assert str(error.value) == says


@pytest.mark.parametrize(
    ("message", "problem", "path"),
    [
        ("The widget is bent - at `$.budgets[0].limits`", "The widget is bent", "$.budgets[0].limits"),
        ("The widget is bent", "The widget is bent", "$"),
        ("The widget is bent (line 3, at budgets)", "The widget is bent (line 3, at budgets)", "$"),
        ("Unbekanntes Feld `x` - at `$.budgets[...]`", "Unbekanntes Feld `x`", "$.budgets['...']"),
    ],
)
def test_words_that_nobody_here_knows_are_passed_on_as_they_are(message, problem, path, monkeypatch):
    def refuse(*_):
        raise msgspec.ValidationError(message)

    monkeypatch.setattr(module.msgspec, "convert", refuse)
    with pytest.raises(InvalidPolicy) as error:
        module.decode(Document({"budgets": [{"limits": {}}]}))
    assert (error.value.problem, error.value.path) == (problem, path)


def test_what_is_known_is_put_into_words_of_policies():
    with pytest.raises(InvalidPolicy, match="expected a list, got a whole number") as error:
        load_policy({"budgets": 1})
    assert error.value.path == "$.budgets"
