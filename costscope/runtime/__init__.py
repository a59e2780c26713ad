"""The runtime: a store, a policy and prices, put to work together."""

from costscope.runtime.default import configure, get_runtime, installed, set_runtime
from costscope.runtime.options import RuntimeOptions
from costscope.runtime.runtime import Runtime

__all__ = ["Runtime", "RuntimeOptions", "configure", "get_runtime", "installed", "set_runtime"]
