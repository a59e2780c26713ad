"""What policies do beside refusing: effects of thresholds, routes, runaways. Decisions only; no I/O.

Import from the modules.
"""
