"""A campaign: members x sizes x folds as one plan on disk, trained job by job.

For whoever takes the trained members over, two names are enough::

    for job in finished_jobs(folder):
        job.member, job.size, job.fold, job.recipe_hash, job.run

``job.run`` is the folder of a finished run, exactly as ``kellgren train member`` leaves it:
``member.onnx``, ``member.head.npz``, ``member.json`` (facts), ``oof.csv``, ``scores.json``,
``log.jsonl``, ``curves.png``, ``folds.json``, ``origin.json``, ``checkpoint.safetensors``.
``read_plan`` gives the campaign's folds and data as hashes; ``folds.json`` beside it, the folds.
Nothing of these needs torch.
"""

from __future__ import annotations

from kellgren.training.campaign.description import Campaign, read_campaign, shipped_campaigns
from kellgren.training.campaign.plan import Plan, TrainingJob, all_jobs, finished_jobs, read_plan

__all__ = [
    "Campaign",
    "Plan",
    "TrainingJob",
    "all_jobs",
    "finished_jobs",
    "read_campaign",
    "read_plan",
    "shipped_campaigns",
]
