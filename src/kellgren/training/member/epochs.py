"""The epochs that patience tolerates, kept: their weights by halves, and what they predict."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from kellgren.errors import TrainingError
from kellgren.grades import GRADE_COUNT
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.voting import softmax
from kellgren.training.architectures import Member, find
from kellgren.training.input.cache import Store
from kellgren.training.kept_epochs import (
    EPOCHS,
    KeptEpoch,
    forget_epochs_from,
    numbers_kept,
    predictions_file,
    weights_file,
    write_list,
)
from kellgren.training.member.checkpoint import (
    RunState,
    Weights,
    load_learnt_weights,
    read_history,
    save_weights,
)
from kellgren.training.member.predicting import predict, write_predictions
from kellgren.training.member.run import MemberRun
from kellgren.training.member.schedule import stopping_losses, tolerated
from kellgren.training.recipe import HeadThenAll
from kellgren.training.run_folder import FACTS

Advance = Callable[[int, int], None]


def keeps_epochs(run: MemberRun) -> bool:
    """Whether the run keeps epochs: its recipe says so, and there are knees to judge them on."""
    schedule = run.recipe.schedule
    return isinstance(schedule, HeadThenAll) and schedule.keep_epochs and bool(run.held_out.any())


def keep_epoch(run: MemberRun, state: RunState) -> None:
    """Keep the weights of the epoch that just ended, if patience tolerates it.

    What lay there of this epoch or later ones, from before a kill, is gone.

    Raises:
        CannotKeep: the disk is full or the folder cannot be written.
    """
    schedule = run.recipe.schedule
    number = len(state.history)
    forget_epochs_from(run.out, number)
    if isinstance(schedule, HeadThenAll) and _last_is_tolerated(schedule, state):
        (run.out / EPOCHS).mkdir(exist_ok=True)
        save_weights(_by_halves(state), run.identity, weights_file(run.out, number))


def _last_is_tolerated(schedule: HeadThenAll, state: RunState) -> bool:
    return tolerated(schedule, stopping_losses(schedule, state.history))[-1]


def _by_halves(state: RunState) -> Weights:
    """The weights that the epoch is judged by, matrices as float16, statistics as they are."""
    network = state.network if state.average is None else state.average
    tensors = {f"network/{name}": _half(value) for name, value in network.state_dict().items()}
    return Weights(tensors, list(state.history))


def _half(value: torch.Tensor) -> torch.Tensor:
    value = value.detach().cpu()
    if not value.is_floating_point() or value.ndim < 2:
        return value
    half = value.half()
    return half if bool(half.isfinite().all()) else value  # float16 ends at 65504


def predict_kept_epochs(
    run: MemberRun, store: Store, fold: int, advance: Advance = lambda done, of: None
) -> None:
    """Let every kept epoch predict the held-out knees, two views a knee; list the epochs.

    Tables that lie there already stay.

    Args:
        run: trained.
        store: of its knees at its size.
        fold: that is held out.
        advance: called with how many knees of how many are predicted.

    Raises:
        TrainingError: the weights of an epoch are damaged.
        CannotKeep: a file cannot be written.
    """
    held_out = np.flatnonzero(run.held_out)
    for number in numbers_kept(run.out):
        if not predictions_file(run.out, number).exists():
            probabilities = _predicted(run, number, store, held_out, advance)
            knees = [run.knees[position] for position in held_out.tolist()]
            write_predictions(knees, probabilities, fold, predictions_file(run.out, number))
    write_list(run.out, read_history(run.checkpoint, run.identity))


def _predicted(
    run: MemberRun,
    number: int,
    store: Store,
    held_out: npt.NDArray[np.int64],
    advance: Advance,
) -> npt.NDArray[np.float64]:
    network = find(run.recipe.network.architecture).build(GRADE_COUNT)
    path = weights_file(run.out, number)
    read_history(path, run.identity)
    load_learnt_weights(network, path, run.data_hash)
    seen = run.preprocess(run.recipe.final_size)
    logits = predict(network.eval(), store, held_out, seen, run.device.name, advance)
    return softmax(logits.mean(axis=1))


def load_epoch(epoch: KeptEpoch) -> tuple[Member, Preprocess]:
    """A kept epoch's network, in evaluation mode on the processor, and what it sees.

    Args:
        epoch: of a finished run, from `kept_epochs`.

    Raises:
        TrainingError: the weights are damaged or of another run, or the run's facts are.
    """
    path = epoch.weights.parents[1] / FACTS
    try:
        facts = json.loads(path.read_text("utf-8"))
        preprocess = Preprocess.model_validate(facts["preprocess"])
        identity = {"recipe": facts["recipe_hash"], "data": facts["data"]}
        network = find(facts["architecture"]).build(GRADE_COUNT)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            path, f"is not readable ({type(error).__name__})", "Name a whole run"
        ) from None
    read_history(epoch.weights, identity)
    load_learnt_weights(network, epoch.weights, identity["data"])
    return network.eval(), preprocess
