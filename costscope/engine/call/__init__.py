"""Metered calls. Import from the modules, of which `costscope` gives the public part.

`metered` and `hold` are what users write; `spec` is what they said. `opening` makes a `call`, `reserving` and
`settlement` are its two phases, `results` says what it took. `drivers` are the forms it comes in, `guided` is what
policies do with it beside refusing.
"""
