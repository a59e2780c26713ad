"""What a call used: one shape for every provider's usage, read from results and from streams."""

from costscope.pricing.usage.shapes import coerce_usage, read_usage
from costscope.pricing.usage.stream_usage import StreamUsage
from costscope.pricing.usage.usage_fields import MAX_TOKENS, Usage

__all__ = ["MAX_TOKENS", "StreamUsage", "Usage", "coerce_usage", "read_usage"]
