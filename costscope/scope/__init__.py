"""Scopes: the context tree, its labels and limits. Import from the modules: they and the runtime need each other."""
