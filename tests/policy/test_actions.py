"""The table of actions: every word has a row, every field an owner, every effect an action."""

from __future__ import annotations

from typing import get_args

import pytest

from costscope.engine.control.effects import NOTHING, effects_of_actions
from costscope.policy.model.actions import (
    ACTIONS,
    FIELDS,
    Action,
    ActionKind,
    any_paces,
    any_refuses,
    format_action,
)


def test_every_word_has_a_row_and_every_field_a_kind():
    assert tuple(ACTIONS) == get_args(ActionKind)
    assert tuple(FIELDS) == tuple(field for field in Action.__struct_fields__ if field != "do")
    assert {field for row in ACTIONS.values() for field in row.fields} == set(FIELDS)
    assert all(row.value in {None, *row.fields} for row in ACTIONS.values())


@pytest.mark.parametrize(
    ("do", "refuses", "model", "run", "reset"),
    [
        ("log", None, False, False, False),
        ("callback", None, False, False, False),
        ("downgrade_model", None, True, False, False),
        ("limit_capabilities", None, False, False, False),
        ("throttle", "calls", False, False, True),
        ("halt_new_runs", "new_runs", False, True, False),
        ("halt_run", "run", False, True, False),
        ("webhook", None, False, False, False),
    ],
)
def test_what_each_action_is(do, refuses, model, run, reset):
    row = ACTIONS[do]
    assert (row.refuses, row.needs_model, row.needs_run, row.needs_reset) == (refuses, model, run, reset)
    for what in ("calls", "run", "new_runs"):
        assert any_refuses((Action(do="log"), Action(do=do)), what) == (what == refuses)
    assert any_paces((Action(do=do),)) == reset


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action(do="log"), "log"),
        (Action(do="webhook", to="ops"), "webhook ops"),
        (Action(do="webhook"), "webhook"),
        (Action(do="downgrade_model", model="small"), "downgrade_model small"),
        (Action(do="throttle", max_wait="5s"), "throttle"),
        (
            Action(do="limit_capabilities", max_tokens=0.5, iterations=1000),
            "limit_capabilities (max_tokens x 0.5, iterations 1,000)",
        ),
    ],
)
def test_an_action_in_words(action, words):
    assert format_action(action) == words


def test_what_the_actions_of_a_runaway_put_in_force_together():
    slow, slower = Action(do="throttle", max_wait=1), Action(do="throttle", max_wait=2)
    found = effects_of_actions(
        [
            Action(do="log"),
            Action(do="downgrade_model"),
            Action(do="downgrade_model", model="small"),
            Action(do="limit_capabilities", max_tokens=500),
            Action(do="limit_capabilities", max_tokens=0.5, iterations=3),
            slow,
            slower,
            Action(do="halt_run"),
        ]
    )
    assert (found.downgrade, found.model) == (True, "small")
    assert (found.max_tokens, found.iterations) == ((500, 0.5), (3,))
    assert (found.brake, found.throttled, found.halt_run) == (slow, (), None)


@pytest.mark.parametrize("do", ["log", "callback", "webhook"])
def test_what_only_tells_puts_nothing_in_force(do):
    assert effects_of_actions([Action(do=do)]) is NOTHING
