"""The runtime: a store, a policy and prices, put to work together."""

from costscope.runtime.default import configure, get_runtime, set_runtime
from costscope.runtime.runtime import Runtime

__all__ = ["Runtime", "configure", "get_runtime", "set_runtime"]
