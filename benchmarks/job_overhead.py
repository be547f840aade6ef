"""What a training job costs beside its steps, part by part, in seconds.

    python benchmarks/job_overhead.py --data kneeKL299 --network inception_v3_mixed7a --size 384

One job with one fold of five held out: no step is taken, the weights are random, everything else
is what `kellgren train` does. Arithmetic that cannot be saved is shown apart: the held-out knees
predicted by torch on the training device, and 64 of them graded by the exported file on the
processor. `clock` is what one waits for, `processor` what this process used of all cores: the
fairer number on a busy machine. Imports are paid once by a runner, however many jobs it does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from kellgren.data.manifest import for_training, index
from kellgren.data.splits import make_folds
from kellgren.grading.voting import softmax
from kellgren.training.export.onnx_export import export
from kellgren.training.input.loading import load_store
from kellgren.training.member import outcome
from kellgren.training.member.checkpoint import save_checkpoint
from kellgren.training.member.predicting import predict
from kellgren.training.member.prepare import prepare
from kellgren.training.member.run import begin, trained_network
from kellgren.training.member.verify import check_file
from kellgren.training.recipe import Recipe, read_recipe
from kellgren.training.run_folder import CURVES, MODEL

IMPORTS = "import kellgren.training.member.loop, kellgren.training.member.outcome, torch._dynamo"
ARITHMETIC, ONCE = "  (arithmetic)", "  (once a runner or machine)"


class Parts:
    """Seconds by part, printed as they are spent."""

    def __init__(self) -> None:
        self.clock = self.processor = 0.0
        print(f"{'':<44}{'clock s':>9}{'processor s':>13}")

    @contextmanager
    def timed(self, name: str, note: str = "") -> Iterator[None]:
        """A part; with a note, it does not count as a job's overhead."""
        clock, processor = time.perf_counter(), time.process_time()
        yield
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        print(f"{name:<44}{clock:>9.2f}{processor:>13.2f}{note}", flush=True)
        if not note:
            self.clock += clock
            self.processor += processor


def recipe_for(options: argparse.Namespace) -> Recipe:
    base = read_recipe(options.recipe).model_dump()
    base["network"] |= {
        "architecture": options.network,
        "pretrained": options.weights_dir is not None,
    }
    return Recipe.model_validate(base).at_size(options.size)


def measure(options: argparse.Namespace, out: Path, parts: Parts) -> None:
    recipe = recipe_for(options)
    with parts.timed("imports", ONCE):
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    with parts.timed("index of the data, folds", ONCE):
        knees = for_training(index(options.data), options.data)
        folds = make_folds(knees)
    with parts.timed("run put together"):
        run = prepare(recipe, knees, out, folds=folds, fold=0, weights_dir=options.weights_dir)
    preprocess = run.preprocess(options.size)
    print(
        f"{options.network} at {options.size}, {len(knees)} knees, {run.device}, "
        f"{torch.get_num_threads()} threads"
    )
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])  # torch imports its compiler with it
    with parts.timed("network and optimiser built, weights read"):
        state = begin(run)
    with parts.timed("knees decoded, cache cold or warm", ONCE):
        load_store(knees, preprocess)
    with parts.timed("planes, cache warm"):
        load_store(knees, preprocess)
    state.history.append({"epoch": 1, "loss": 1.0})
    with parts.timed("checkpoint written"):
        save_checkpoint(state, run.identity, run.checkpoint)
    with parts.timed("curves, the first of a process", ONCE):
        outcome.draw_curves(state.history, run.out / CURVES)
    with parts.timed("curves"):
        outcome.draw_curves(state.history, run.out / CURVES)
    with parts.timed("trained network read"):
        network = trained_network(run)
    with parts.timed("export, with its session"):
        written = export(network, options.size, run.out / MODEL, half_storage=True)
        outcome.write_head(run, network)
    with parts.timed("planes, cache warm, a second time"):
        store = load_store(knees, preprocess)
    held_out = np.flatnonzero(run.held_out)[: options.held_out]
    with parts.timed(f"{len(held_out)} held-out knees, {run.device.name}", ARITHMETIC):
        logits = predict(written.network, store, held_out, preprocess, run.device.name)
    some = outcome.evenly(np.arange(len(held_out)))
    with parts.timed(f"{len(some)} knees by the file", ARITHMETIC):
        check = check_file(run.out, preprocess, store.exact(held_out[some]), logits[some, 0])
    with parts.timed("facts, scores with intervals, predictions"):
        outcome.write_facts(run, preprocess, {"held_out_fold": 0, "export_check": check})
        outcome.write_scores(run, held_out, softmax(logits.mean(axis=1)), 0)
    print(f"the file's probabilities differ by {check['difference']:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("examples/grades.csv"))
    parser.add_argument("--network", default="inception_v3_mixed7a")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--recipe", default="inception")
    parser.add_argument("--weights-dir", type=Path, help="start from ImageNet weights in there")
    parser.add_argument("--held-out", type=int, help="predict at most so many held-out knees")
    options = parser.parse_args()
    parts = Parts()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder) / "run", parts)
    name = "a job beside its steps and arithmetic"
    print(f"{name:<44}{parts.clock:>9.2f}{parts.processor:>13.2f}")


if __name__ == "__main__":
    main()
