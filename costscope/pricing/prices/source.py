"""Price tables that other packages bring: found by the entry-point group `costscope.prices`, asked in name order.

What a source says is checked like a user's own price. One that fails refuses the call: the next one may know another
price, and a call that was reserved too cheaply passes its budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import msgspec

from costscope.errors import InvalidAmount, ModelUnpriced
from costscope.pricing.prices.model_price import ModelPrice
from costscope.pricing.prices.price_rules import convert_price

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

GROUP: Final = "costscope.prices"


class Quote(msgspec.Struct, frozen=True):
    """A price, and until when it is sure to be the same."""

    price: Mapping[str, object] | ModelPrice
    """Amounts per million tokens, with the fields of a model under `prices:` in a policy; amounts are text, numbers or
    `Decimal`."""
    until: datetime | None = None
    """With a time zone. None: not known, so that it is asked for again after a minute."""


@runtime_checkable
class PriceSource(Protocol):
    """A price table. It is asked inside a call, so it answers from memory, and from any thread."""

    @property
    def currency(self) -> str:
        """What its amounts are in, such as `USD`. It is left out of policies in another one."""
        ...

    def find(self, model: str, *, provider: str | None, at: datetime) -> Quote | Mapping[str, object] | None:
        """Find the price of a model.

        Args:
            model: the name as the call has it, such as `gpt-4o` or `openai/gpt-4o`.
            provider: who serves it, when that is known.
            at: the moment of the request, in UTC.

        Returns:
            The price; None for a model that the table does not have: the next source is asked then.
        """
        ...


class CheckedSource:
    """A source that is loaded when it is first asked, and whose answers are checked.

    Args:
        name: stands in the prices it gives.
        what: it is, for messages.
        make: gives the source; may import what it is made of.
    """

    def __init__(self, name: str, what: str, make: Callable[[], object]) -> None:
        self.name = name
        self._what = what
        self._make = make
        self._source: PriceSource | None = None
        self._problem = ""

    def quote(
        self, model: str, provider: str | None, at: datetime, currency: str
    ) -> tuple[ModelPrice | None, datetime | None]:
        """Return the price of a model, None when the source has none; and until when that holds.

        Raises:
            ModelUnpriced: it cannot be loaded, has failed, or gives what is no price.
        """
        source = self.load()
        try:
            if source.currency != currency:
                return None, None
            found = source.find(model, provider=provider, at=at)
            if found is None:
                return None, None
            quote = found if isinstance(found, Quote) else Quote(found)
            return self._price(model, quote.price), _check_until(quote.until)
        except ModelUnpriced:
            raise
        except (InvalidAmount, msgspec.ValidationError) as error:
            msg = f"{self._what} gives no price for the model {model!r:.120}: {error}"
            raise ModelUnpriced(msg) from error
        except Exception as error:
            msg = f"{self._what} failed for the model {model!r:.120}: {type(error).__name__}: {error}"
            raise ModelUnpriced(msg) from error

    def load(self) -> PriceSource:
        """Import it, once.

        Raises:
            ModelUnpriced: that cannot be done; the message says what is missing, and whose it is.
        """
        if self._source is None and not self._problem:
            try:
                made = self._make()
                if isinstance(made, PriceSource):
                    self._source = made
                else:
                    self._problem = f"gives a {type(made).__name__}, which has no `currency` and `find`"
            except ModuleNotFoundError as error:
                self._problem = f"needs the module {error.name}, which is not installed: install what has it"
            except Exception as error:  # noqa: BLE001 - of another package, at whose import anything may happen
                self._problem = f"cannot be loaded: {type(error).__name__}: {error}"
        if self._source is None:
            msg = f"{self._what} {self._problem}; mend or uninstall it, for no price is guessed in its place"
            raise ModelUnpriced(msg)
        return self._source

    def _price(self, model: str, given: object) -> ModelPrice:
        if isinstance(given, ModelPrice):
            return given
        if not isinstance(given, Mapping):
            msg = f"{given!r:.60} is no mapping of amounts per million tokens"
            raise InvalidAmount(msg)
        plain = msgspec.to_builtins(given, builtin_types=(), str_keys=True)
        return convert_price(plain, model, source=self.name)


def _check_until(until: datetime | None) -> datetime | None:
    if until is not None and until.tzinfo is None:
        msg = f"it holds until {until}, which has no time zone"
        raise InvalidAmount(msg)
    return until


@cache
def installed_sources() -> tuple[CheckedSource, ...]:
    """Return the sources of all installed packages, by name: functions or classes that give one when called."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - costs 17 ms, which a model with an own price saves

    points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    return tuple(_installed_source(point) for point in points)


def _installed_source(point: EntryPoint) -> CheckedSource:
    package = point.dist.name if point.dist is not None else point.module
    what = f"the price source {point.name!r} of the package {package}"
    return CheckedSource(point.name, what, lambda: point.load()())  # noqa: PLW0108 - loaded late
