"""Calls over which policies act beside refusing: routed, paced, let through, held up; and what their end brings about.

A plain call (limits, and nothing else) passes through none of it. Import from the modules.
"""

__all__: list[str] = []
