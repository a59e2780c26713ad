"""Metered calls: reserving, what policies do about it, settling, and what follows. Import from the modules."""
