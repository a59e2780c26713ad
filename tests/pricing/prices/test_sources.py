"""Price tables of other packages: found where they are installed, checked, and never guessed around."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from costscope import ModelUnpriced, Runtime, Usage, budget_scope, metered_model
from costscope.policy.lint.policy_lint import lint_policy
from costscope.policy.load.loader import load_policy
from costscope.prices import PriceSource, Quote
from costscope.pricing.prices.book import PriceBook
from costscope.pricing.prices.bundled import BundledPrices
from costscope.pricing.prices.price_rules import PriceList, PriceRule

AT = datetime(2026, 3, 1, tzinfo=UTC)


def table(price, *, currency="USD", before=""):
    return f"""
        from decimal import Decimal
        from datetime import datetime, UTC
        from costscope.prices import Quote
        {before}

        class Prices:
            currency = "{currency}"
            asked = []

            def find(self, model, *, provider, at):
                self.asked.append((model, provider, at))
                if model != "ours":
                    return None
                return {price}
    """


def rate(book, model="ours"):
    """Nano-units per input token, by which source."""
    price = book.find(model, at=AT)
    return None if price is None else (price.cost(Usage(1, 0)), price.source)


def test_an_installed_table_prices_what_no_other_knows(install):
    install("acme", table('{"input": "2", "output": Decimal("4"), "batch": {"input": 1, "output": "2"}}'))
    book = PriceBook(PriceList())
    assert rate(book) == (2000, "acme")
    assert book.require("ours", at=AT).cost(Usage(1, 1, tier="batch")) == 3000
    assert rate(book, "theirs") is None


def test_what_is_asked_for_reaches_the_table_as_it_is(install):
    install("acme", table('{"input": 1, "output": 1}'))
    PriceBook().find("ours", provider="them", at=AT)
    assert sys.modules["acme"].Prices.asked == [("ours", "them", AT)]


def test_the_policy_goes_before_it_and_it_before_the_bundled_table(install):
    code = table('{"input": "2", "output": "4"}').replace('"ours"', '"gpt-4o"')
    install("acme", code)
    own = PriceList(models={"gpt-4o": PriceRule(input="1", output="1")})
    assert rate(PriceBook(own), "gpt-4o") == (1000, "policy")
    assert rate(PriceBook(), "gpt-4o") == (2000, "acme")
    assert rate(PriceBook(use_installed=False), "gpt-4o") == (2500, "genai-prices")
    assert rate(PriceBook(), "gpt-4o-mini") == (150, "genai-prices")


def test_limits_of_the_policy_hold_for_an_installed_price(install):
    install("acme", table('{"input": "2", "output": "4", "max_output_tokens": 9}'))
    own = PriceList(models={"ours": PriceRule(max_output_tokens=7)})
    price = PriceBook(own).require("ours", at=AT)
    assert (price.source, price.max_output_tokens) == ("acme", 7)


def test_of_several_the_first_by_name_that_has_the_model_is_taken(install):
    install("two", table('{"input": "2", "output": 0}'), points={"b-table": "two:Prices"})
    install("one", table('{"input": "1", "output": 0}'), points={"a-table": "one:Prices"})
    install("none", table("None"), points={"0-table": "none:Prices"})
    assert rate(PriceBook()) == (1000, "a-table")


def test_a_table_in_another_currency_is_left_out(install):
    install("acme", table('{"input": "2", "output": 0}', currency="EUR"))
    assert rate(PriceBook()) is None
    assert rate(PriceBook(currency="EUR")) == (2000, "acme")


def test_a_price_is_used_until_it_changes_or_a_minute_is_over(install):
    until = AT + timedelta(seconds=10)
    install("acme", table(f'Quote({{"input": "2", "output": 0}}, datetime.fromisoformat("{until}"))'))
    book = PriceBook()
    for seconds in (0, 9, 10, 11):
        book.find("ours", at=AT + timedelta(seconds=seconds))
    asked = sys.modules["acme"].Prices.asked
    assert [(at - AT).total_seconds() for _, _, at in asked] == [0, 10, 11]
    asked.clear()
    for seconds in (0, 59, 60):
        book.find("theirs", at=AT + timedelta(seconds=seconds))
    assert [(at - AT).total_seconds() for _, _, at in asked] == [0, 60]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ('{"input": "-2", "output": "4"}', "input (per million tokens): '-2' is not a plain decimal number"),
        ('{"input": -2.0, "output": "4"}', "input (per million tokens): -2.0 is out of range"),
        ('{"input": float("nan"), "output": 1}', "input (per million tokens): nan is not finite"),
        ('{"input": "1", "outputs": "4"}', "unknown field `outputs`"),
        ('{"output": "4"}', "input: missing"),
        ('{"max_output_tokens": 4}', "prices nothing; give at least `input`"),
        ('"0.15"', "'0.15' is no mapping of amounts per million tokens"),
        ('Quote({"input": 1, "output": 1}, datetime(2027, 1, 1))', "which has no time zone"),
    ],
)
def test_what_is_no_price_refuses_the_call_and_names_the_source(install, given, says):
    install("acme", table(given))
    with pytest.raises(ModelUnpriced) as refused:
        PriceBook().require("ours", at=AT)
    assert str(refused.value).startswith("the price source 'acme' of the package acme gives no price for the")
    assert says in str(refused.value)


def test_a_source_that_raises_refuses_the_call_though_another_one_knows_the_model(install):
    code = table("1 / 0").replace('"ours"', '"gpt-4o"')
    install("acme", code)
    with pytest.raises(
        ModelUnpriced, match=r"'acme' of the package acme failed for the model 'gpt-4o': Zero"
    ):
        PriceBook().require("gpt-4o", at=AT)
    assert rate(PriceBook(), "gpt-4o-mini") == (150, "genai-prices")


def test_a_source_that_comes_to_itself_is_asked_again(install):
    install("acme", table('[{"input": "2", "output": 0}][len(self.asked) < 2]'))
    book = PriceBook()
    with pytest.raises(ModelUnpriced, match="IndexError"):
        book.require("ours", at=AT)
    assert rate(book) == (2000, "acme")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_module_here", "needs the module no_such_module_here, which is not installed"),
        ("raise RuntimeError('no licence')", "cannot be loaded: RuntimeError: no licence"),
        ("Prices = dict", "gives a dict, which has no `currency` and `find`"),
        ("", "cannot be loaded: AttributeError"),
    ],
)
def test_a_source_that_cannot_be_loaded_names_its_package_and_what_is_missing(install, code, says):
    install("acme-prices", code)
    book = PriceBook()
    for _ in range(2):
        with pytest.raises(ModelUnpriced) as refused:
            book.require("gpt-4o", at=AT)
        assert f"the price source 'acme-prices' of the package acme-prices {says}" in str(refused.value)
    with pytest.raises(ModelUnpriced, match="acme-prices"):
        book.preload()


def test_a_model_with_a_price_in_the_policy_needs_no_source(install):
    install("acme", "import no_such_module_here")
    own = PriceList(models={"ours": PriceRule(input="1", output="1")})
    assert rate(PriceBook(own)) == (1000, "policy")


def test_a_broken_source_is_a_warning_of_the_check(install):
    install("acme", "import no_such_module_here")
    policy = load_policy(
        {"routing": [{"id": "r", "stages": [{"model": "gpt-4o", "fallbacks": ["gpt-4o-mini"]}]}]}
    )
    said = [text for _, text in lint_policy(policy).warnings]
    assert sum("no_such_module_here" in text for text in said) == 2


def test_a_call_is_held_and_charged_at_the_price_of_a_source(install):
    install("acme", table('{"input": "1000", "output": "1000"}'))
    policy = {"budgets": [{"id": "b", "match": {}, "period": "daily", "limits": {"cost": "10"}}]}
    with Runtime(store="memory://", policy=policy) as runtime:

        @metered_model("ours", runtime=runtime, usage=lambda _: {"input_tokens": 10, "output_tokens": 5})
        def ask(prompt, max_tokens):
            return "hello"

        with budget_scope(runtime=runtime, tenant="t") as scope:
            ask("hello", max_tokens=5)
            assert str(scope.spent) == "0.015"


def test_the_bundled_table_is_a_source_as_any_other():
    source = BundledPrices()
    assert isinstance(source, PriceSource)
    quote = source.find("gpt-4o", provider=None, at=AT)
    assert isinstance(quote, Quote)
    assert quote.price.source == "genai-prices"
    assert source.find("no-such-model", provider=None, at=AT) is None


def test_importing_costscope_loads_no_source(install):
    path = install("acme", "raise SystemExit('imported')")
    code = "import costscope, sys; costscope.Runtime(store='memory://').close(); print('acme' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(path)},
    )
    assert done.stdout == "False\n"
