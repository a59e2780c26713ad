"""Loopback HTTP servers that answer like OpenAI and Anthropic and keep a bill of their own.

Not a mock of costscope and not a stub of an SDK: the real SDKs speak HTTP to it, and its bill says what a
provider would have charged, independently of costscope's ledger.
"""

from fake_providers.answers import Answer, Charge, Gate
from fake_providers.server import FakeProvider, Received

__all__ = ["Answer", "Charge", "FakeProvider", "Gate", "Received"]
