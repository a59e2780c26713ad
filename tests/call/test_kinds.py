"""One decorator for every kind of callable: what it stays, and that each call is charged once."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle

import pytest
from running import default_runtime

from costscope import BudgetExceeded, ModelUnpriced, budget_scope, metered_model, metered_tool
from costscope.metered.decorators import MeteredFunction
from costscope.pricing.estimate.bound import CALL_SLACK

PRICE = 10_000_000  # "0.01" in nano-units


@pytest.fixture
def tool(runtime):
    """The decorator under test."""
    return functools.partial(metered_tool, price="0.01", runtime=runtime)


def double(number: int, *, times: int = 2) -> int:
    """Say what it does."""
    return number * times


async def adouble(number: int, *, times: int = 2) -> int:
    """Say what it does."""
    return number * times


def count(number: int, *, times: int = 2):
    """Say what it does."""
    for _ in range(times):
        yield number


async def acount(number: int, *, times: int = 2):
    """Say what it does."""
    for _ in range(times):
        yield number


class Doubler:
    """A callable object."""

    def __call__(self, number: int, *, times: int = 2) -> int:
        return number * times


def consume(result):
    """Whatever a call returned, as a plain value."""
    if inspect.isawaitable(result):

        async def wait():
            return await result

        return asyncio.run(wait())
    if inspect.isasyncgen(result) or hasattr(result, "__anext__"):

        async def gather():
            return [item async for item in result]

        return asyncio.run(gather())
    return list(result) if hasattr(result, "__next__") else result


KINDS = {
    "function": (double, 42),
    "coroutine": (adouble, 42),
    "generator": (count, [21, 21]),
    "async generator": (acount, [21, 21]),
    "partial": (functools.partial(double, times=2), 42),
    "partial of a coroutine": (functools.partial(adouble, times=2), 42),
    "callable object": (Doubler(), 42),
    "bound method": (Doubler().__call__, 42),
    "lambda": (lambda number: number * 2, 42),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_returns_what_it_did_and_is_charged_once(kind, tool, runtime, books):
    function, expected = KINDS[kind]
    metered = tool("t")(function)
    with budget_scope(runtime=runtime):
        assert consume(metered(21)) == expected
        assert consume(metered(number=21)) == expected
    assert books.spent() == 2 * PRICE
    assert books.spent("tool_calls") == 2
    books.settle()


@pytest.mark.parametrize("kind", ["method", "class first", "class last", "static first", "static last"])
@pytest.mark.parametrize("body", [double, adouble, count, acount], ids=lambda body: body.__name__)
def test_methods_bind_whichever_decorator_is_outside(kind, body, tool, runtime, books):
    """`self` and `cls` reach the body; the arguments of the call are not shifted by them."""
    received = []

    def with_owner(owner, number, *, times=2):
        received.append(owner)
        return body(number, times=times)

    if inspect.iscoroutinefunction(body):

        async def bound(owner, number, *, times=2):
            return await with_owner(owner, number, times=times)

    elif inspect.isasyncgenfunction(body):

        async def bound(owner, number, *, times=2):
            async for item in with_owner(owner, number, times=times):
                yield item

    elif inspect.isgeneratorfunction(body):

        def bound(owner, number, *, times=2):
            yield from with_owner(owner, number, times=times)

    else:
        bound = with_owner
    made = {
        "method": lambda: tool("t")(bound),
        "class first": lambda: classmethod(tool("t")(bound)),
        "class last": lambda: tool("t")(classmethod(bound)),
        "static first": lambda: staticmethod(tool("t")(body)),
        "static last": lambda: tool("t")(staticmethod(body)),
    }[kind]()
    owner = type("Owner", (), {"call": made})
    instance = owner()
    with budget_scope(runtime=runtime):
        values = [consume(instance.call(21))]
        values.append(consume(owner.call(instance, 21) if kind == "method" else owner.call(21)))
    assert values == [consume(body(21))] * 2
    expected = [] if "static" in kind else [instance] * 2 if kind == "method" else [owner] * 2
    assert received == expected
    assert books.spent("tool_calls") == 2
    books.settle()


@pytest.mark.parametrize("function", [double, adouble, count, acount], ids=lambda function: function.__name__)
def test_what_inspect_says_stays(function, tool):
    metered = tool(function)
    assert inspect.signature(metered) == inspect.signature(function)
    assert inspect.get_annotations(metered) == inspect.get_annotations(function)
    for question in (
        inspect.isfunction,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        assert question(metered) == question(function), question.__name__
    assert (metered.__name__, metered.__doc__) == (function.__name__, "Say what it does.")
    assert metered.__qualname__ == function.__qualname__
    assert metered.__module__ == function.__module__
    assert metered.__wrapped__ is function


@metered_tool
def picklable(number: int) -> int:
    """A module-level metered function."""
    return number


class Owner:
    """With metered methods."""

    def __init__(self, number):
        self.number = number

    @metered_tool
    def method(self, number):
        return number

    @classmethod
    @metered_tool
    def outside(cls, number):
        return number

    @metered_tool
    @staticmethod
    def static(number):
        return number


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_metered_function_is_pickled_by_name(protocol):
    """Task queues and process pools send functions: by reference, like any function."""
    assert pickle.loads(pickle.dumps(picklable, protocol)) is picklable
    assert pickle.loads(pickle.dumps(Owner.__dict__["static"], protocol)) is not None


def test_copies_of_a_metered_function_are_the_function_itself():
    assert copy.copy(picklable) is picklable
    assert copy.deepcopy({"deep": [picklable]})["deep"][0] is picklable


@pytest.mark.parametrize(
    "find", [lambda: Owner(3).method, lambda: Owner.outside, lambda: Owner.static, lambda: Owner.method]
)
def test_metered_methods_are_pickled_and_copied_like_methods(find):
    """A process pool is given `worker.method`: the instance goes along."""
    for found in (pickle.loads(pickle.dumps(find())), copy.copy(find()), copy.deepcopy(find())):
        assert found.__qualname__ == find().__qualname__
        owner = getattr(found, "__self__", None)
        if isinstance(owner, Owner):
            assert owner.number == 3
        assert type(found) is type(find()), "still metered"


def test_bare_decorators_take_the_functions_own_name(runtime, books):
    @metered_tool
    def search():
        return "found"

    with default_runtime(runtime), budget_scope():
        assert search() == "found"
        with budget_scope(max_tool_calls=0), pytest.raises(BudgetExceeded) as refusal:
            search()
    assert search.__qualname__ in str(refusal.value)
    assert books.spent("tool_calls") == 1
    assert books.spent() == 0, "a tool without a price is counted and costs nothing"


@pytest.mark.parametrize("call", [lambda f: f(model="gpt-4o-mini"), lambda f: f("gpt-4o-mini")])
def test_a_bare_model_is_named_by_the_calls_argument(call, runtime, books):
    @metered_model(runtime=runtime)
    def ask(model, max_tokens=100):
        return {"usage": {"prompt_tokens": 10, "completion_tokens": 5}, "model": model}

    with budget_scope(runtime=runtime):
        call(ask)
    assert books.spent() == 10 * 150 + 5 * 600
    books.settle()


def test_a_model_that_nobody_names_is_refused(runtime, books):
    ran = []

    @metered_model(runtime=runtime)
    def ask(max_tokens=100):
        ran.append(1)

    with budget_scope(runtime=runtime), pytest.raises(ModelUnpriced, match="no model is named"):
        ask()
    assert not ran
    assert books.snapshot().holds == ()


@pytest.mark.parametrize("thing", [3, "name", None, int, Doubler])
def test_what_cannot_be_metered_is_refused_at_decoration(thing):
    with pytest.raises((TypeError, ValueError)):
        metered_tool("t", price="0.01")(thing)


def test_a_call_inside_a_call_of_its_kind_is_charged_once(tool, runtime, books, colour):
    """The outermost: an inner one is how the outer one does its work."""

    @tool("inner")
    def inner():
        return 1

    @colour.define
    def outer():
        return inner() + inner()

    outer = tool("outer", price="0.05")(outer)
    with budget_scope(runtime=runtime):
        assert colour.run(outer) == 2
        assert books.spent() == 5 * PRICE
        inner()
    assert books.spent() == 6 * PRICE
    books.settle()


def test_recursion_is_one_call(tool, runtime, books):
    @tool
    def countdown(number):
        return countdown(number - 1) if number else "done"

    with budget_scope(runtime=runtime):
        assert countdown(5) == "done"
    assert books.spent("tool_calls") == 1
    books.settle()


def test_async_recursion_is_one_call(tool, runtime, books):
    @tool
    async def countdown(number):
        return await countdown(number - 1) if number else "done"

    with budget_scope(runtime=runtime):
        assert asyncio.run(countdown(5)) == "done"
    assert books.spent("tool_calls") == 1
    books.settle()


def test_a_tool_that_calls_a_model_and_a_model_that_calls_a_tool_are_both_charged(tool, runtime, books):
    model = metered_model("m", price="0.02", runtime=runtime)

    @tool("leaf")
    def leaf():
        return 1

    @model
    def ask(max_tokens=10):
        return leaf()

    @tool("outer")
    def outer():
        return ask()

    with budget_scope(runtime=runtime):
        assert outer() == 1
    assert (books.spent("tool_calls"), books.spent("model_calls")) == (1, 1), "leaf is inside outer"
    assert books.spent() == 3 * PRICE
    with budget_scope(runtime=runtime):
        ask()
    assert (books.spent("tool_calls"), books.spent("model_calls")) == (2, 2)
    books.settle()


def test_a_new_scope_inside_a_metered_call_charges_again(tool, runtime, books):
    """Whoever opens a scope in there means to have its calls counted in it."""

    @tool("inner")
    def inner():
        return 1

    @tool("outer")
    def outer():
        with budget_scope(runtime=runtime, agent="sub"):
            return inner()

    with budget_scope(runtime=runtime):
        outer()
    assert books.spent("tool_calls") == 2
    books.settle()


def test_calls_beside_each_other_are_each_charged(tool, runtime, books):
    """The call in progress is ambient for what it calls, not for its siblings."""

    @tool("t")
    async def one():
        await asyncio.sleep(0)

    async def siblings():
        await asyncio.gather(*(one() for _ in range(5)))

    with budget_scope(runtime=runtime):
        asyncio.run(siblings())
    assert books.spent("tool_calls") == 5
    books.settle()


def test_a_generator_that_is_suspended_does_not_hide_the_callers_own_calls(tool, runtime, books):
    stream = tool("stream")(count)
    plain = tool("plain")(double)
    with budget_scope(runtime=runtime):
        items = stream(1)
        next(items)
        plain(1)
        assert list(items) == [1]
    assert books.spent("tool_calls") == 2
    books.settle()


def test_a_metered_function_is_a_wrapper_that_isinstance_knows(tool):
    assert isinstance(tool(double), MeteredFunction)
    assert repr(tool(double)).startswith("<MeteredFunction")


def ask(model, text, max_tokens=50):
    return {"asked": (model, text, max_tokens)}


class Asker:
    def __call__(self, model, text, max_tokens=50):
        return ask(model, text, max_tokens)

    def method(self, model, text, max_tokens=50):
        return ask(model, text, max_tokens)


MODEL_CALLS = {
    "function": lambda meter: meter(ask)("gpt-4o-mini", "x" * 300),
    "by keyword": lambda meter: meter(ask)(text="x" * 300, model="gpt-4o-mini"),
    "partial": lambda meter: meter(functools.partial(ask, "gpt-4o-mini"))("x" * 300),
    "partial by keyword": lambda meter: meter(functools.partial(ask, text="x" * 300))("gpt-4o-mini"),
    "partial with everything": lambda meter: meter(functools.partial(ask, "gpt-4o-mini", "x" * 300))(),
    "partial of partial": lambda meter: meter(
        functools.partial(functools.partial(ask, "gpt-4o-mini"), text="x" * 300)
    )(),
    "callable object": lambda meter: meter(Asker())("gpt-4o-mini", "x" * 300),
    "partial of a callable object": lambda meter: meter(functools.partial(Asker(), "gpt-4o-mini"))("x" * 300),
    "bound method": lambda meter: meter(Asker().method)("gpt-4o-mini", "x" * 300),
    "method": lambda meter: type("C", (), {"ask": meter(Asker.method)})().ask("gpt-4o-mini", "x" * 300),
    "method of the class": lambda meter: (c := type("C", (), {"ask": meter(Asker.method)})).ask(
        c(), "gpt-4o-mini", "x" * 300
    ),
    "classmethod": lambda meter: type("C", (), {"ask": classmethod(meter(Asker.method))}).ask(
        "gpt-4o-mini", "x" * 300
    ),
    "classmethod inside": lambda meter: type("C", (), {"ask": meter(classmethod(Asker.method))})().ask(
        "gpt-4o-mini", "x" * 300
    ),
    "staticmethod": lambda meter: type("C", (), {"ask": staticmethod(meter(ask))})().ask(
        "gpt-4o-mini", "x" * 300
    ),
    "staticmethod inside": lambda meter: type("C", (), {"ask": meter(staticmethod(ask))})().ask(
        "gpt-4o-mini", "x" * 300
    ),
    "metered twice": lambda meter: meter(meter(ask))("gpt-4o-mini", "x" * 300),
}


@pytest.mark.parametrize("kind", MODEL_CALLS)
def test_the_estimate_sees_the_same_arguments_whatever_the_kind(kind, runtime, books):
    """A parameter off by one is a model's name taken for the text, and a hold that is too small."""
    meter = metered_model(price={"input": "0.15", "output": "0.60"}, runtime=runtime)
    with budget_scope(runtime=runtime):
        result = MODEL_CALLS[kind](meter)
    assert result == {"asked": ("gpt-4o-mini", "x" * 300, 50)}
    input_tokens = books.spent("input_tokens")
    assert 300 <= input_tokens - CALL_SLACK < 400, "bounded by the text, once"
    assert books.spent("output_tokens") == 50
    assert books.spent() == input_tokens * 150 + 50 * 600, "no usage came back: the estimate is charged"
    books.settle()


@pytest.mark.parametrize("bound", [(), ("gpt-4o-mini",)])
def test_a_partial_without_a_cap_is_given_one(bound, runtime, books):
    def uncapped(model, text, max_tokens=None):
        return max_tokens

    metered = metered_model(runtime=runtime)(functools.partial(uncapped, *bound))
    with budget_scope(runtime=runtime):
        assert metered(*("gpt-4o-mini", "hi")[len(bound) :]) == 4096
    assert books.spent("output_tokens") == 4096
