"""`python -m kellgren` is `kellgren`."""

from kellgren.cli import main

main()
