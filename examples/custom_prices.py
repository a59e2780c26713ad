"""Prices and usage of your own: a model that no price table knows, a tool billed by the page.

Prices may also stand in the policy file (`prices:`), where they apply to every function that names the model.
"""

from dataclasses import dataclass

import costscope
from costscope import ModelUnpriced, Usage, budget_scope, metered_model, metered_tool

costscope.configure(
    store="memory://",
    policy={
        "prices": {
            "models": {"house-model": {"input": "0.20", "output": "0.80", "max_output_tokens": 1024}},
            "tools": {"weather": "0.0005"},
        }
    },
)


@dataclass
class Reply:
    """What the in-house server answers."""

    text: str
    words_in: int
    words_out: int


@metered_model("house-model", usage=lambda reply: Usage(2 * reply.words_in, 2 * reply.words_out))
def ask(prompt: str, *, max_tokens: int = 100) -> Reply:  # noqa: ARG001 - a real one sends it
    """A model with its price in the policy; it counts words, two tokens each."""
    return Reply("Yes.", len(prompt.split()), 1)


@metered_tool("weather")
def weather(city: str) -> str:
    """A tool with its price in the policy."""
    return f"{city}: sunny"


@metered_tool("ocr", estimate="0.10", usage=lambda pages: f"{len(pages) * 0.002:.3f}")
def read_scan(file: str) -> list[str]:
    """A tool billed by the page: at most 50 pages are reserved, the pages there are get charged."""
    return [f"page 1 of {file}", f"page 2 of {file}", f"page 3 of {file}"]


def per_thousand(usage: Usage) -> str:
    """A price that is no rate per token: 0.0001 for every started thousand tokens."""
    return f"{-(-usage.tokens // 1000) * 0.0001:.4f}"


@metered_model("rented-gpu", price=per_thousand)
def generate(prompt: str, *, max_tokens: int = 500) -> dict[str, object]:
    """A model with a computed price: reserved at its value for the largest possible call."""
    return {"text": prompt, "usage": {"input_tokens": 40, "output_tokens": max_tokens}}


@metered_model("unknown-model")
def unknown(prompt: str) -> str:
    """A model without a price is refused, never free."""
    return prompt


with budget_scope(tenant="acme", max_cost="1.00") as scope:
    ask("Is it cheap?")
    print("a model priced in the policy:", scope.spent)
    weather("Lisbon")
    print("and a tool priced there:", scope.spent)
    read_scan("scan.pdf")
    print("and three pages:", scope.spent)
    generate("Draw a cat.")
    print("and a computed price:", scope.spent)
    try:
        unknown("Hello?")
    except ModelUnpriced as refusal:
        print(refusal)
