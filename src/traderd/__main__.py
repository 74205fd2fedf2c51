"""`python -m traderd` is the `traderd` command."""

from traderd.cli import main

main()
