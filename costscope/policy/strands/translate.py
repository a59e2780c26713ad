"""A file of that format, in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.policy.document import Rewriting, cut
from costscope.policy.strands.budgets import is_budget, translate_budgets
from costscope.policy.strands.pricing import translate_pricing
from costscope.policy.strands.routing import translate_routing

if TYPE_CHECKING:
    from costscope.policy.document import Document

__all__ = ["translate"]


def translate(document: Document) -> Document:
    """The document in our words; the same document if it is in them already.

    Raises:
        InvalidPolicy: a field of that format that is unknown, not supported here, or that contradicts another one.
    """
    data: Any = document.data
    budgets = data.get("budgets")
    ours = not isinstance(budgets, list) or not any(map(is_budget, budgets))
    if ours and "routing_policies" not in data and "pricing" not in data:
        return document
    work = Rewriting(document)
    found = dict(data)
    if not ours:
        found["budgets"] = translate_budgets(work, budgets)
    if "routing_policies" in found:
        _alone(work, found, "routing_policies", "routing")
        policies = found.pop("routing_policies")
        if not isinstance(policies, list):
            work.refuse(f"expected a list, got {cut(policies)}", ("routing_policies",))
        found["routing"] = translate_routing(work, policies)
    if "pricing" in found:
        _alone(work, found, "pricing", "prices")
        found["prices"], currency = translate_pricing(work, found.pop("pricing"))
        if currency is not None and found.setdefault("currency", currency) != currency:
            problem = f"{cut(currency)}, and currency says otherwise; keep one"
            work.refuse(problem, ("pricing", "currency"))
    return work.document(found)


def _alone(work: Rewriting, data: dict[str, Any], field: str, ours: str) -> None:
    if ours in data:
        work.refuse(f"{field} and {ours} are the same in two formats; keep one", (field,))
