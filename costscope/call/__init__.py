"""Metered calls: decorators, streams and reservations, driving one object that does no I/O."""
