"""The board: what several processes must agree on beside the books. No lock, no clock, no I/O."""
