"""Reading a call's model, cap, choices and tier, and putting a cap into it."""

import inspect

import pytest

from costscope.errors import InvalidInput
from costscope.pricing.estimate.arguments import (
    CallShape,
    choices_of,
    model_of,
    output_cap,
    tier_of,
    wants_audio,
)


def complete(messages, model="gpt-4o-mini", *, max_tokens=300, **options): ...


def test_binding_names_every_argument_with_defaults_and_options():
    shape = CallShape(complete)
    assert shape.bind((["hi"],), {"n": 2}) == {
        "messages": ["hi"],
        "model": "gpt-4o-mini",
        "max_tokens": 300,
        "n": 2,
    }
    assert shape.bind((["hi"], "o3"), {"max_tokens": 5})["model"] == "o3"


def test_binding_agrees_with_inspect():
    def function(a, /, b, c=3, *rest, d, e=5): ...

    args, kwargs = (1, 2, 4, "x", "y"), {"d": 7}
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    assert CallShape(function).bind(args, kwargs) == dict(bound.arguments)


def test_binding_a_method_leaves_out_self():
    class Agent:
        def run(self, prompt): ...

    assert CallShape(Agent.run, skip_first=True).bind(("hi",), {}) == {"prompt": "hi"}
    assert CallShape(Agent().run).bind(("hi",), {}) == {"prompt": "hi"}


@pytest.mark.parametrize(
    ("arguments", "model"),
    [({"model": "o3"}, "o3"), ({"model": None}, None), ({"model": 5}, None), ({}, None)],
)
def test_the_model_is_read_from_the_arguments(arguments, model):
    assert model_of(arguments) == model


@pytest.mark.parametrize(
    ("arguments", "cap"),
    [
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 10}, 10),
        ({"max_output_tokens": 10}, 10),
        ({"max_tokens": 10, "max_completion_tokens": 20}, 20),
        ({"config": {"max_output_tokens": 30}}, 30),
        ({"generation_config": {"maxOutputTokens": 30}}, 30),
        ({"max_tokens": 10, "extra_body": {"max_completion_tokens": 40}}, 40),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": None}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": -5}, None),
        ({"max_tokens": "300"}, None),
        ({"config": None}, None),
        ({}, None),
    ],
)
def test_the_output_cap_is_the_largest_that_is_stated(arguments, cap):
    assert output_cap(arguments) == cap


def test_the_output_cap_of_a_gemini_config_object():
    from google.genai import types

    config = types.GenerateContentConfig(max_output_tokens=77, candidate_count=3)
    assert output_cap({"config": config}) == 77
    assert choices_of({"config": config}) == 3


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        ({"n": 3}, 3),
        ({"n": None}, 1),
        ({"n": 0}, 1),
        ({"n": True}, 1),
        ({}, 1),
        ({"extra_body": {"n": 4}}, 4),
    ],
)
def test_choices(arguments, choices):
    assert choices_of(arguments) == choices


@pytest.mark.parametrize(
    ("arguments", "tier"),
    [
        ({"service_tier": "Flex"}, "flex"),
        ({"speed": "fast"}, "fast"),
        ({"extra_body": {"service_tier": "priority"}}, "priority"),
        ({"service_tier": None}, None),
        ({}, None),
    ],
)
def test_the_service_tier(arguments, tier):
    assert tier_of(arguments) == tier


def test_audio_output_is_noticed():
    assert wants_audio({"modalities": ["text", "audio"]})
    assert wants_audio({"config": {"response_modalities": ["AUDIO"]}})
    assert not wants_audio({"modalities": ["text"]})


def test_a_cap_that_is_there_is_lowered_and_never_raised():
    shape = CallShape(complete)
    assert shape.with_cap((["hi"],), {"max_tokens": 100}, 40) == ((["hi"],), {"max_tokens": 40})
    assert shape.with_cap((["hi"],), {"max_tokens": 100}, 400)[1] == {"max_tokens": 100}
    assert shape.with_cap((["hi"],), {}, 40)[1] == {"max_tokens": 40}  # the default was 300


def test_a_cap_given_by_position_is_replaced_there():
    def ask(prompt, max_tokens): ...

    assert CallShape(ask).with_cap(("hi", 100), {}, 40) == (("hi", 40), {})


@pytest.mark.parametrize(
    ("function", "kwargs", "provider", "expected"),
    [
        (lambda messages, max_completion_tokens=None: None, {}, "openai", {"max_completion_tokens": 9}),
        (lambda messages, **options: None, {}, "openai", {"max_completion_tokens": 9}),
        (lambda messages, **options: None, {}, "anthropic", {"max_tokens": 9}),
        (lambda messages, **options: None, {}, None, {"max_tokens": 9}),
        (lambda **options: None, {"input": "x"}, "openai", {"input": "x", "max_output_tokens": 9}),
        (
            lambda **options: None,
            {"contents": "x"},
            "google",
            {"contents": "x", "config": {"max_output_tokens": 9}},
        ),
        (lambda contents, config=None: None, {}, "google", {"config": {"max_output_tokens": 9}}),
        (
            lambda contents, **options: None,
            {"config": {"temperature": 0}},
            "google",
            {"config": {"temperature": 0, "max_output_tokens": 9}},
        ),
    ],
)
def test_a_cap_that_is_missing_is_set_where_the_provider_reads_it(function, kwargs, provider, expected):
    args = () if "input" in kwargs or "contents" in kwargs else ("hi",)
    shape = CallShape(function)
    assert shape.can_cap(shape.bind(args, kwargs), provider=provider)
    assert shape.with_cap(args, kwargs, 9, provider=provider) == (args, expected)


def test_a_nested_cap_is_lowered_in_a_copy():
    from google.genai import types

    def ask(contents, config): ...

    config = types.GenerateContentConfig(max_output_tokens=100, temperature=0.5)
    _, kwargs = CallShape(ask).with_cap(("hi",), {"config": config}, 40)
    assert (kwargs["config"].max_output_tokens, kwargs["config"].temperature) == (40, 0.5)
    assert config.max_output_tokens == 100
    settings = {"max_output_tokens": 100}
    args, _ = CallShape(ask).with_cap(("hi", settings), {}, 40)
    assert args == ("hi", {"max_output_tokens": 40})
    assert settings == {"max_output_tokens": 100}


def test_a_function_without_a_place_for_a_cap_is_refused_with_the_remedy():
    def ask(prompt): ...

    shape = CallShape(ask)
    assert not shape.can_cap({"prompt": "hi"})
    with pytest.raises(InvalidInput, match=r"max_tokens.*estimate="):
        shape.with_cap(("hi",), {}, 40)
