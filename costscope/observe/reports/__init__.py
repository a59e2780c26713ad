"""What the books say and where they are heading: the command line shows it, the exporter publishes it.

Everything here is computed from snapshots of a ledger; no I/O, no clock but that of the snapshot.
"""
