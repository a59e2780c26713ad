"""Before the call: an upper bound of what it can use, and the cap that keeps it there."""

from costscope.pricing.estimate.amounts import (
    Estimate,
    given_estimate,
    given_hold,
    settled_amounts,
    tool_estimate,
)
from costscope.pricing.estimate.arguments import CallShape, choices_of, model_of, output_cap, tier_of
from costscope.pricing.estimate.bound import Bound, input_bound, text_bound
from costscope.pricing.estimate.model_call import (
    DEFAULT_OUTPUT_CAP,
    MIN_OUTPUT_TOKENS,
    Described,
    capped_estimate,
    estimate_call,
    estimate_of,
    strict_estimate,
)

__all__ = [
    "DEFAULT_OUTPUT_CAP",
    "MIN_OUTPUT_TOKENS",
    "Bound",
    "CallShape",
    "Described",
    "Estimate",
    "capped_estimate",
    "choices_of",
    "estimate_call",
    "estimate_of",
    "given_estimate",
    "given_hold",
    "input_bound",
    "model_of",
    "output_cap",
    "settled_amounts",
    "strict_estimate",
    "text_bound",
    "tier_of",
    "tool_estimate",
]
