"""Service tiers: their names, which of several statements about a call's tier counts, and a user's own prices of them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.errors import InvalidAmount, InvalidInput
from costscope.pricing.money import to_nano

if TYPE_CHECKING:
    from costscope.pricing.usage.usage_fields import Usage

Amount = str | int | float
"""A decimal text such as "0.15" (exact), or a number."""

STANDARD: Final = "standard"

_STANDARD_NAMES: Final = frozenset(
    {
        STANDARD,
        "default",
        "standard_only",
        "auto",
        "unspecified",
        "traffic_type_unspecified",
        "on_demand",
        # capacity that was paid for in advance; its tokens are counted at the standard rates
        "scale",
        "provisioned_throughput",
        "reserved",
    }
)
_ASKED_FOR_STANDARD: Final = frozenset({STANDARD, "default", "standard_only", "on_demand"})
"""Of the standard names, those with which a call excludes every other tier."""
_BATCH: Final = "batch"
_DISCOUNTS: Final = frozenset({_BATCH, "flex", "offpeak"})
OWN_TIERS: Final = (_BATCH, "flex", "priority", "fast")
"""Tiers that a rule of the user's own may price."""
_SURCHARGED: Final = ("priority", "fast")
_FACTOR_MAX: Final = 100

RATES: Final = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "output_audio",
)
_PER_MILLION: Final = 1_000_000


def plain_name(tier: str) -> str:
    """Return a tier's name as the price lists have it: Vertex says `ON_DEMAND_PRIORITY`."""
    return tier.lower().removeprefix("on_demand_")


def is_standard(tier: str) -> bool:
    """Tell if this is one of the ways to say that a call has no tier of its own."""
    return plain_name(tier) in _STANDARD_NAMES


def is_discount(tier: str) -> bool:
    """Tell if a tier costs no more than standard: without a price of its own, standard is charged."""
    return plain_name(tier) in _DISCOUNTS


def asked_tiers(stated: str | None) -> tuple[str, ...] | None:
    """Return the tiers a call that states this one may be billed at; None where it leaves that to the provider.

    Args:
        stated: what the call says, in its arguments or by `tier=`.
    """
    if stated is None:
        return None
    name = plain_name(stated)
    if name in _ASKED_FOR_STANDARD:
        return (STANDARD,)
    if name in _STANDARD_NAMES:
        return None
    if name == _BATCH:
        return (_BATCH,)  # it does not fall back
    if name == "fast":
        return (STANDARD, "fast", "priority")  # OpenAI answers a call for `fast` with `priority`
    return (STANDARD, name)


def billed_usage(usage: Usage, stated: str | None) -> Usage:
    """Return the usage with the tier that it is billed at.

    What the response says counts: a provider that is short of a tier falls back. Where it says nothing, the call's
    word does. A batch is the exception: there is no falling back, and its responses do not know that they are one.

    Args:
        usage: with the tier that the response says.
        stated: what the call said, in its arguments or by `tier=`.
    """
    tier = usage.tier
    if tier is None or (stated == _BATCH and (is_standard(tier) or is_discount(tier))):
        tier = stated
    return usage if tier == usage.tier else msgspec.structs.replace(usage, tier=tier)


def checked_tier(tier: object) -> str | None:
    """Check the value of a `tier=` option.

    Raises:
        InvalidInput: no text. Whether the tier has a price is seen when the model is known.
    """
    if tier is None:
        return None
    if not isinstance(tier, str) or not tier.strip():
        msg = (
            f'tier={tier!r:.60}: name the tier the calls are billed at, such as "batch", "flex" or "priority"'
        )
        raise InvalidInput(msg)
    return tier.strip().lower()


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Amounts in the currency per MILLION tokens."""

    input: Amount | None = None
    output: Amount | None = None
    """Without it the model must make no output."""
    cache_read: Amount | None = None
    """Without it cached input costs what `input` does; the same for the writes."""
    cached_input: Amount | None = None
    """OpenAI's word for `cache_read`."""
    cache_write: Amount | None = None
    cache_write_1h: Amount | None = None
    reasoning: Amount | None = None
    input_audio: Amount | None = None
    output_audio: Amount | None = None

    def rates(self, where: str = "") -> dict[str, Fraction]:
        """Return the rates that are given, in nano-units per token.

        Args:
            where: what stands before a field's name in messages, such as `batch.`.

        Raises:
            InvalidAmount: an amount that cannot be a price, or one that is given under two names.
        """
        if self.cached_input is not None and self.cache_read is not None:
            msg = f"{where}cached_input: another name for cache_read; give one of them"
            raise InvalidAmount(msg)
        found = {
            name: _rate(value, f"{where}{name}")
            for name in RATES
            if (value := getattr(self, name)) is not None
        }
        if self.cached_input is not None:
            found["cache_read"] = _rate(self.cached_input, f"{where}cached_input")
        return found


class TierRates(Rates, frozen=True, forbid_unknown_fields=True):
    """What the tokens of one tier cost. It stands alone: what it leaves out costs what its whole does in this tier."""


def _rate(amount: Amount, name: str) -> Fraction:
    """Convert an amount per million tokens to nano-units per token."""
    return Fraction(to_nano(amount, what=f"{name} (per million tokens)"), _PER_MILLION)


def _tier_rates(tier: str, price: Amount | TierRates, standard: dict[str, Fraction]) -> dict[str, Fraction]:
    if isinstance(price, TierRates):
        found = price.rates(f"{tier}.")
        for name in ("input", "output"):
            if name in standard and name not in found:
                msg = f"{tier}.{name}: missing; the rates of a tier stand alone, so give it (0 if it is free)"
                raise InvalidAmount(msg)
        return found
    factor = Fraction(to_nano(price, what=tier), to_nano(1))
    least, most = (1, _FACTOR_MAX) if tier in _SURCHARGED else (0, 1)
    if not least <= factor <= most:
        example = "1.75" if tier in _SURCHARGED else "0.5"
        msg = f"{tier}: {price!r} is a factor of the standard rates; give a number from {least} to {most}, such as {example}"
        raise InvalidAmount(msg)
    return {name: value * factor for name, value in standard.items()}


def own_tables(
    model: str, prices: dict[str, Amount | TierRates], standard: dict[str, Fraction]
) -> tuple[dict[str, dict[str, Fraction]], list[str]]:
    """Return the rates of a user's own tiers, and the tiers a provider may choose for a call that states none.

    Args:
        model: whose they are.
        prices: by tier, one of `OWN_TIERS`: a factor of the standard rates, or rates of its own.
        standard: the standard rates, as those returned in nano-units per token.

    Raises:
        InvalidAmount: a discount above 1, a surcharge below 1 or above 100, or rates that leave out what standard has.
    """
    tables = {tier: _tier_rates(tier, price, standard) for tier, price in prices.items()}
    claude = "claude" in model.lower()
    if not claude:  # OpenAI's two words for one tier; Anthropic's `priority` is no price per token
        for one, other in (_SURCHARGED, _SURCHARGED[::-1]):
            if one in tables:
                tables.setdefault(other, tables[one])
    # A project's settings decide for a call that does not say; only Anthropic's fast mode has to be asked for.
    return tables, [tier for tier in tables if not (claude and tier == "fast")]
