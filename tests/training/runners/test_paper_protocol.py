"""A campaign as the authors had theirs, end to end: one split, folds by knee, kept epochs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import kellgren, rows
from kellgren.data.manifest import Knee, write_manifest
from kellgren.data.splits import load_folds, make_folds
from kellgren.training.campaign import Campaign, finished_jobs
from kellgren.training.kept_epochs import kept_epochs
from kellgren.training.member.epochs import load_epoch
from kellgren.training.runners.runner import run_campaign
from tiny_training import HEAD_THEN_ALL, tiny_recipe

pytestmark = pytest.mark.usefixtures("small_world")
THEIRS = HEAD_THEN_ALL | {
    **{"stopping": "rise", "delta": 0.1, "patience": 7, "keep_epochs": True},
    **{"stop_on": "inner", "inner_parts": 2},
}


def test_a_campaign_goes_their_way_from_folds_to_kept_epochs(
    knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [replace(k, patient=f"p{n % 6}", split="train") for n, k in enumerate(knees)]
    recipe = tiny_recipe(THEIRS, epochs=(3,), batch=4, last_batch="keep")
    campaign = Campaign("theirs", 2, 3, (recipe,), folds_by="knee", splits=("train",))
    folder = tmp_path / "campaign"
    result = run_campaign(campaign, pairs, folder)
    assert (len(result.finished), result.failed) == (2, {})

    folds = load_folds(folder / "folds.json")
    assert folds == make_folds(pairs, 2, 3, "knee")
    assert folds.straddling(pairs) > 0
    predicted: list[str] = []
    for job in finished_jobs(folder):
        predicted += [row["image"] for row in rows(job.run / "oof.csv")]
        facts = json.loads((job.run / "member.json").read_text())
        assert (facts["folds_by"], facts["folds_hash"]) == ("knee", folds.hash)
        assert facts["knees"] + facts["inner_knees"] + len(rows(job.run / "oof.csv")) == 12
        for epoch in kept_epochs(job.run):
            network, seen = load_epoch(epoch)
            assert (network.training, seen.size) == (False, 48)
            held_out = [row["image"] for row in rows(epoch.predictions)]
            assert held_out == [row["image"] for row in rows(job.run / "oof.csv")]
    assert sorted(predicted) == sorted(str(knee.image) for knee in pairs)

    write_manifest(pairs, tmp_path / "knees.csv")
    capsys.readouterr()
    with pytest.warns(RuntimeWarning, match="the folds were dealt by knee"):
        assert kellgren("train", "epochs", folder, "--data", tmp_path / "knees.csv") == 0
    told = capsys.readouterr().out
    assert "12 knees of 6 patients; epochs by itself, or chosen by the inner part" in told
