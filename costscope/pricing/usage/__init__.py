"""What a call used: one shape for every provider's usage, read from results and from streams."""

from costscope.pricing.usage.read import coerce_usage, read_usage
from costscope.pricing.usage.stream_usage import StreamUsage
from costscope.pricing.usage.usage import MAX_TOKENS, Usage

__all__ = ["MAX_TOKENS", "StreamUsage", "Usage", "coerce_usage", "read_usage"]
