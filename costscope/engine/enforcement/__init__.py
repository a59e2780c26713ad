"""Refusals, waiting and clocks, of calls, runs and iterations alike. Import from the modules."""
