"""Before the call: an upper bound of what it can use, and the cap that keeps it there."""
