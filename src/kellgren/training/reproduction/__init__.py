"""The protocol of Pi et al. on a campaign beside an honest one: predictions, tables, report."""
