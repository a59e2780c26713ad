"""`python -m costscope`: the same as the `costscope` command."""

from costscope.cli import main

if __name__ == "__main__":
    main()
