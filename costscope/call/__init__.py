"""Metered calls: one sans-io object and its drivers. Import from the modules, of which `costscope` gives the public part."""

__all__: list[str] = []
