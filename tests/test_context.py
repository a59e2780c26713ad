"""What `costscope/context.py` relies on in contextvars-extras 0.7.0, which is unmaintained."""

from __future__ import annotations

import contextvars
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

import costscope
from costscope import context
from costscope.context import current_call, current_scope, set_current_call, set_current_scope


@pytest.fixture
def fresh():
    """Runs a function in an empty context, so that tests leave nothing behind."""
    return lambda function: contextvars.Context().run(function)


def test_the_version_that_these_contracts_were_written_for():
    assert version("contextvars-extras") == "0.7.0"


def test_one_module_imports_it():
    root = Path(costscope.__file__).parent
    importing = [
        path.name
        for path in root.rglob("*.py")
        if "import" in (text := path.read_text()) and "from contextvars_extras" in text
    ]
    assert importing == ["context.py"]


def test_nothing_is_current_at_first_in_any_context_or_thread(fresh):
    found = []

    def look():
        found.append((current_scope(), current_call()))

    fresh(look)
    thread = threading.Thread(target=fresh, args=(look,))
    thread.start()
    thread.join()
    assert found == [(None, None)] * 2


def test_what_is_set_is_got_and_the_two_do_not_touch(fresh):
    def check():
        scope, call = object(), object()
        set_current_scope(scope)
        assert (current_scope(), current_call()) == (scope, None)
        set_current_call(call)
        assert (current_scope(), current_call()) == (scope, call)
        set_current_scope(None)
        assert (current_scope(), current_call()) == (None, call)

    fresh(check)


def test_a_value_set_in_a_copy_of_a_context_stays_there(fresh):
    def check():
        set_current_scope("outer")
        copied = contextvars.copy_context()
        copied.run(set_current_scope, "inner")
        assert current_scope() == "outer"
        assert copied.run(current_scope) == "inner"

    fresh(check)


def test_a_misspelt_variable_is_an_error_not_a_new_variable():
    """The registry would allocate one by default."""
    registry = context._Context
    with pytest.raises(AttributeError):
        registry().scoop = 1


def test_the_variables_are_plain_context_variables():
    """Bound once for speed: these are the C methods, not the library's slower ones."""
    assert type(current_scope.__self__) is contextvars.ContextVar
    assert type(set_current_call.__self__) is contextvars.ContextVar
