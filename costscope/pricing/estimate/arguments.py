"""The arguments of a metered call: which model, how much output, and how to put a cap into them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from costscope.errors import InvalidInput

Arguments = Mapping[str, object]

_CAPS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens")
_CHOICES: Final = ("n", "candidate_count", "candidateCount", "best_of")
_CONFIGS: Final = (
    "config",
    "generation_config",
    "generationConfig",
    "inference_config",
    "inferenceConfig",
    "extra_body",
    "model_settings",
)
"""Arguments that are themselves a set of settings."""
_CONFIG_NAMES: Final = frozenset(_CONFIGS)
SETTINGS: Final = frozenset(
    {*_CHOICES, *_CONFIGS, "service_tier", "serviceTier", "speed", "modalities", "response_modalities"}
)
"""Names that the readers below look at, besides the caps; a call without any of them has one plain answer."""
_GOOGLE_CONFIGS: Final = ("config", "generation_config")
_TIERS: Final = ("service_tier", "serviceTier")
_UNDECIDED: Final = frozenset({"auto", "unspecified"})


class CallShape:
    """The signature of a metered function, read once: binds calls quickly and puts output caps into them."""

    __slots__ = ("_by_keyword", "_defaults", "_index", "_positional", "_receiver", "_rest", "_takes_any")

    def __init__(self, function: Callable[..., object], *, skip_first: bool = False) -> None:
        """Read the signature.

        Args:
            function: the wrapped function.
            skip_first: leave out its first parameter: `self` or `cls`, which the call's args do not have.
        """
        parameters = list(inspect.signature(function).parameters.values())[1 if skip_first else 0 :]
        by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        self._positional = tuple(item.name for item in parameters if item.kind in by_position)
        # `self` or `cls`, where a function is called with it as a plain argument: an owner, not a part of the prompt.
        self._receiver = next((name for name in self._positional[:1] if name in ("self", "cls")), None)
        self._index = {name: index for index, name in enumerate(self._positional)}
        self._by_keyword = frozenset(item.name for item in parameters if item.kind in by_name)
        self._defaults = {
            item.name: item.default for item in parameters if item.default is not inspect.Parameter.empty
        }
        kinds = {item.kind: item.name for item in parameters}
        self._rest = kinds.get(inspect.Parameter.VAR_POSITIONAL, "args")
        self._takes_any = inspect.Parameter.VAR_KEYWORD in kinds

    def bind(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Map each parameter's name to its value, defaults included, `**kwargs` among them.

        Wrong arguments are left for the function itself to refuse.
        """
        arguments = dict(self._defaults)
        arguments.update(zip(self._positional, args, strict=False))
        if len(args) > len(self._positional):
            arguments[self._rest] = args[len(self._positional) :]
        arguments.update(kwargs)
        if self._receiver is not None:
            arguments.pop(self._receiver, None)
        return arguments

    def can_cap(self, arguments: Arguments, *, provider: str | None = None) -> bool:
        """Tell if `with_cap` can put an output cap into such a call."""
        return output_cap(arguments) is not None or self._cap_name(arguments, provider) is not None

    def with_cap(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], cap: int, *, provider: str | None = None
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return the call with its output capped: new `(args, kwargs)`.

        Every cap that is there already is lowered to `cap`, never raised; if there is none, one is set.

        Args:
            args: the call's positional arguments.
            kwargs: its keyword arguments.
            cap: the most output tokens per choice.
            provider: id of the provider, which decides how the cap is called in `**kwargs`.

        Raises:
            InvalidInput: the function has no parameter for it.
        """
        arguments = self.bind(args, kwargs)
        changed = dict(_lower_caps(arguments, cap))
        if not changed:
            name = self._cap_name(arguments, provider)
            if name is None:
                msg = (
                    f"the call needs an output cap of {cap} tokens, and the function takes none of "
                    f"{', '.join(_CAPS[:3])} nor **kwargs; add one of them, or give estimate="
                )
                raise InvalidInput(msg)
            changed = {name: cap}
            if name in _GOOGLE_CONFIGS:
                config = arguments.get(name)
                changed = {
                    name: _replace_fields({} if config is None else config, {"max_output_tokens": cap})
                }
        return self._replace_arguments(args, kwargs, changed)

    def lets_name_model(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
        """Tell if the caller of the function can name another model.

        One that takes anything by `**kwargs` may name a model itself, so that it would have two: only a call that
        names one is sure to have it heeded.
        """
        return (
            "model" in self._by_keyword
            or "model" in kwargs
            or self._index.get("model", len(args)) < len(args)
        )

    def with_model(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], model: str
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return the call with this model instead: new `(args, kwargs)`. For functions that take one."""
        return self._replace_arguments(args, kwargs, {"model": model})

    def _replace_arguments(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], changed: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        positional = list(args)
        named = dict(kwargs)
        for name, value in changed.items():
            index = self._index.get(name, len(positional))
            if index < len(positional):
                positional[index] = value
            else:
                named[name] = value
        return tuple(positional), named

    def _cap_name(self, arguments: Arguments, provider: str | None) -> str | None:
        """Return the parameter that a cap can be set in: a cap's own, a Gemini config, or one let in by `**kwargs`."""
        for name in _CAPS:
            if name in self._by_keyword:
                return name
        for name in _GOOGLE_CONFIGS:
            if (name in self._by_keyword or name in arguments) and provider == "google":
                return name
        if not self._takes_any:
            return None
        if provider == "google":
            return "config" if "contents" in arguments else "max_output_tokens"
        if "input" in arguments and "messages" not in arguments:
            return "max_output_tokens"  # OpenAI responses
        return "max_completion_tokens" if provider in {"openai", "azure"} else "max_tokens"


def model_of(arguments: Arguments) -> str | None:
    """Return the model a call names in its arguments; None when it names none."""
    model = arguments.get("model")
    return model if isinstance(model, str) and model else None


def output_cap(arguments: Arguments) -> int | None:
    """Return the output cap of a call, in tokens per choice: the largest that its settings state; None without one."""
    return max((value for _, _, value in _stated_caps(arguments)), default=None)


def choices_of(arguments: Arguments) -> int:
    """Return how many answers a call asks for, at least 1: `n`, `candidate_count`."""
    counts = [
        settings.get(name) for settings in settings_of(arguments) for name in _CHOICES if name in settings
    ]
    return max((value for value in counts if type(value) is int and value > 1), default=1)


def tier_of(arguments: Arguments, otherwise: str | None = None) -> str | None:
    """Return the service tier a call asks for: OpenAI, Anthropic, Gemini, Bedrock.

    Args:
        arguments: of the call.
        otherwise: the answer when it does not say, or leaves it to the provider (`auto`).
    """
    if SETTINGS.isdisjoint(arguments):
        return otherwise
    for settings in settings_of(arguments):
        if settings.get("speed") == "fast":  # Anthropic
            return "fast"
        for name in _TIERS:
            tier = settings.get(name)
            if isinstance(tier, Mapping):
                tier = tier.get("type")  # Bedrock
            tier = getattr(tier, "value", tier)
            if isinstance(tier, str) and tier:
                tier = tier.lower()
                return otherwise or tier if tier in _UNDECIDED else tier
    return otherwise


def wants_audio(arguments: Arguments) -> bool:
    """Tell if the answer may be audio, which has a price of its own."""
    for settings in settings_of(arguments):
        asked = settings.get("modalities") or settings.get("response_modalities")
        if isinstance(asked, list | tuple) and any("audio" in str(item).lower() for item in asked):
            return True
    return False


def settings_of(arguments: Arguments) -> Iterator[Arguments]:
    """Yield the arguments, and every set of settings inside them (`config`, `extra_body`), as mappings."""
    yield arguments
    for name in _CONFIGS:
        if name in arguments:
            config = _as_mapping(arguments[name])
            if config:
                yield config


def _stated_caps(arguments: Arguments) -> Iterator[tuple[str | None, str, int]]:
    """Yield `(argument with settings or None, name, cap)` of every cap a call states."""
    for name in _CAPS:
        if name in arguments:
            value = arguments[name]
            if type(value) is int and value >= 0:
                yield None, name, value
    if _CONFIG_NAMES.isdisjoint(arguments):
        return
    for outer in _CONFIGS:
        config = _as_mapping(arguments[outer]) if outer in arguments else {}
        for name in _CAPS:
            value = config.get(name)
            if type(value) is int and value >= 0:
                yield outer, name, value


def _lower_caps(arguments: Arguments, cap: int) -> Iterator[tuple[str, object]]:
    for outer, name, value in _stated_caps(arguments):
        if outer is None:
            yield name, min(value, cap)
        else:
            yield outer, _replace_fields(arguments[outer], {name: min(value, cap)})


def _replace_fields(config: object, changes: dict[str, int]) -> object:
    """Copy a dict or pydantic model with some fields changed; the caller's own object stays as it is."""
    if isinstance(config, Mapping):
        return {**config, **changes}
    copied = getattr(config, "model_copy", None)
    if copied is None:
        msg = f"an output cap cannot be put into a {type(config).__name__}; give a dict or a pydantic model"
        raise InvalidInput(msg)
    return copied(update=changes)


def _as_mapping(config: object) -> Arguments:
    if isinstance(config, Mapping):
        return config
    return vars(config) if hasattr(type(config), "__pydantic_fields__") else {}
