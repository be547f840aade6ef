"""Work in several threads: how Ctrl-C ends it, and who else may use the cores meanwhile."""
