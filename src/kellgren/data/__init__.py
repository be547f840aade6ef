"""Graded knees for training and scoring: tables, folds by patient, an audit."""
