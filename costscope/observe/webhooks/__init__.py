"""Records that are sent to other programs, signed; and what these need to verify them."""
