"""`--ray`: commands whose work is done on a cluster."""
