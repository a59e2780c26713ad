"""A policy in words, for `costscope check`: all of it, or what it says about one scope."""
