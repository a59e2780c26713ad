"""What a policy that can be used is probably not meant to say: warnings, each at its place."""
