"""Scopes: the context tree, its labels and limits, and what its accounts say."""
