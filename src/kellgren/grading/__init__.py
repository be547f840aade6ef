"""A knee becomes a distribution over the grades: bundle, members, vote, calibration."""
