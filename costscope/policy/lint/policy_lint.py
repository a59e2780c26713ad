"""All warnings about a policy, and those about money: prices far off, fallbacks that are dearer, models without a price."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.errors import ModelUnpriced
from costscope.policy.lint.action_lint import (
    action_warnings,
    actions_of,
    route_warnings,
    run_warnings,
    stages_of,
)
from costscope.policy.lint.limit_lint import binding_warnings, label_warnings
from costscope.policy.load.document import Problem
from costscope.pricing.money import format_money, to_nano
from costscope.pricing.prices.book import PriceBook
from costscope.pricing.usage.usage_fields import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.policy.model.schema import Policy
    from costscope.pricing.prices.model_price import ModelPrice

FAR_OFF: Final = 100
"""A price that is so many times too high or too low is taken for a mistake."""

_TOKENS: Final = 1000
_NO_TABLE: Final = "prices were not compared with the public ones; pip install 'costscope[prices]' for that"


class Lint(msgspec.Struct, frozen=True):
    """What is suspicious in a policy."""

    warnings: tuple[Problem, ...]
    """Where, and what, in the order of the file as far as there is one."""
    notes: tuple[str, ...] = ()
    """What could not be looked at."""


def lint_policy(policy: Policy) -> Lint:
    """Collect the warnings about a policy from `load_policy`. May load the price table (0.8 s)."""
    found = [
        *label_warnings(policy),
        *binding_warnings(policy),
        *action_warnings(policy),
        *run_warnings(policy),
        *route_warnings(policy),
    ]
    notes: tuple[str, ...] = ()
    if _speaks_of_models(policy):
        if _can_compare_prices():
            found += _price_warnings(policy)
        else:
            notes = (_NO_TABLE,)
    fields = policy.__struct_fields__

    def place(warning: Problem) -> tuple[int, int]:
        # The number of an item in its list; the rest keeps the order in which it was found.
        field, index, *_ = (*warning[0], 0)
        return fields.index(str(field)), index if isinstance(index, int) else 0

    return Lint(tuple(sorted(found, key=place)), notes)


def _speaks_of_models(policy: Policy) -> bool:
    """Tell whether a policy has anything that prices can say something about."""
    return bool(policy.prices.models or next(_models(policy), None))


def _can_compare_prices() -> bool:
    """Load the table of public prices; True if it is installed."""
    return PriceBook(use_installed=False).preload()


def _price_warnings(policy: Policy) -> Iterator[Problem]:
    """Yield what is suspicious about prices and about the models that are routed to."""
    yield from _far_off_prices(policy)
    book = PriceBook(policy.prices, currency=policy.currency)
    for steps, model in _models(policy):
        default = steps[0] == "routing" and steps[-1] == "model"
        effect = "its calls are refused" if default else "it is passed over"
        try:
            if book.find(model) is None:
                yield steps, f"no price is known for {model!r:.80}, so {effect}; add it to prices"
        except ModelUnpriced as error:
            yield steps, f"{error}; until then {effect}"
    yield from _dearer_fallbacks(policy, book)


def _far_off_prices(policy: Policy) -> Iterator[Problem]:
    public = PriceBook(use_installed=False, currency=policy.currency)
    for name, rule in policy.prices.models.items():
        price = None if rule.limits_only else public.find(name)
        if price is None:
            continue
        for rate, usage in (("input", Usage(_TOKENS, 0)), ("output", Usage(0, _TOKENS))):
            own = getattr(rule, rate)
            if own is None or (rate == "output" and not price.has_output):
                continue
            known = (price.cost(usage) - price.per_call_nano) * (1_000_000 // _TOKENS)
            problem = _comparison(name, to_nano(own), known)
            if problem:
                yield ("prices", "models", name, rate), problem


def _comparison(name: str, own: int, known: int) -> str | None:
    """Say what is wrong with an own price beside the known one, both in nano-units per million tokens."""
    table = f"(the public one is {_money(known)} per million)"
    if known and own >= FAR_OFF * known:
        per_1k = _money(own // _TOKENS) if own % _TOKENS == 0 else _money(own // _TOKENS + 1)
        times = round(Fraction(own, known))
        return f"{per_1k} per 1k is {times} x the known price of {name}: per million? {table}"
    if known and known >= FAR_OFF * own:
        part = "nothing, which is less than" if own == 0 else f"1/{round(Fraction(known, own))} of"
        return f"{_money(own)} per million is {part} the known price of {name}: per 1k? {table}"
    return None


def _dearer_fallbacks(policy: Policy, book: PriceBook) -> Iterator[Problem]:
    for steps, stage in stages_of(policy):
        before = stage.model
        for number, model in enumerate(stage.fallbacks):
            first, second = _cost(book, before), _cost(book, model)
            if first is None or second is None or second <= first:
                before = model
                continue
            dearer = f"{model} is dearer than {before}: {_money(second)} against {_money(first)}"
            problem = (
                f"{dearer} for 1,000 tokens in and 1,000 out; it is passed over where less is to be spent"
            )
            yield (*steps, "fallbacks", number), problem


def _cost(book: PriceBook, model: str | None) -> int | None:
    try:
        price: ModelPrice | None = None if model is None else book.find(model)
    except ModelUnpriced:
        return None
    if price is None:
        return None
    return price.cost(Usage(_TOKENS, _TOKENS if price.has_output else 0))


def _models(policy: Policy) -> Iterator[Problem]:
    """Yield the models that the policy itself sends calls to."""
    for steps, stage in stages_of(policy):
        if stage.model is not None:
            yield (*steps, "model"), stage.model
        for number, model in enumerate(stage.fallbacks):
            yield (*steps, "fallbacks", number), model
    for steps, action in actions_of(policy):
        if action.model is not None:
            yield (*steps, "model"), action.model


def _money(nano: int) -> str:
    return format_money(nano, "").strip()
