"""`costscope check`: a policy in words, what it says about one scope, and what it is probably not meant to say."""

from costscope.cli.check.command import check

__all__ = ["check"]
