"""The names of what lies in a run's folder, known without torch."""

from __future__ import annotations

MODEL, HEAD, FACTS, OUT_OF_FOLD = "member.onnx", "member.head.npz", "member.json", "oof.csv"
CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
FOLDS, SCORES_ONNX = "folds.json", "scores_onnx.json"
SCORES, LOG, CURVES = "scores.json", "log.jsonl", "curves.png"
LABEL = "label"
"""The column of `OUT_OF_FOLD` with the grades that the run was scored by."""
