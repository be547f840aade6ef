"""From examples to the gate's weights: principal axes, a network for places, linear models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from kellgren.arrays import Float32Array
from kellgren.localisation.picture_scores import GateWeights, by_place, whole
from kellgren.training.gate_making.examples import IMPLANT, NATIVE, OTHER, PLATES, Example

AXES = 48
_HIDDEN, _EPOCHS, _BATCH, _RATE = 64, 4, 2048, 3e-3
_COVERED, _FREE = 0.12, 0.02
"""Share of a place from which it counts as covered, and up to which as free; between, it is left
out."""
_SHRINKAGE = 0.05
_REGULARISATION = 1e-3


def fit_weights(examples: Sequence[Example], seed: int) -> GateWeights:
    """Learn from examples; the same examples and seed give the same weights."""
    kinds = np.array([example.kind for example in examples])
    wholes = np.stack([whole(example.features.astype(np.float32)) for example in examples])
    native = wholes[kinds == NATIVE]
    centre, scale = native.mean(axis=0), native.std(axis=0) + 1e-3
    unit = (wholes - centre) / scale
    axes, spread, usual = _axes(unit[kinds == NATIVE, : unit.shape[1] // 2])
    place_centre, place_scale, hidden, told = _fit_places(examples, seed)
    return GateWeights(
        centre=centre,
        scale=scale,
        axes=axes,
        spread=spread,
        usual=usual,
        place_centre=place_centre,
        place_scale=place_scale,
        hidden=hidden,
        told=told,
        pictures=np.stack(
            [_fit_linear(unit, kinds, kind) for kind in (IMPLANT, PLATES, OTHER)], axis=1
        ),
    )


def _axes(means: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Axes ``(D / 2, A)``, variances along them, and usual distances along and off them."""
    model = PCA(min(AXES, len(means) - 1), svd_solver="randomized", random_state=0)
    along = model.fit_transform(means)
    spread = model.explained_variance_ + _SHRINKAGE * model.explained_variance_.mean()
    off = means - along @ model.components_
    inside = np.sqrt((along**2 / spread).mean(axis=1))
    outside = np.sqrt((off**2).mean(axis=1))
    usual = np.array([np.median(inside), np.median(outside)], dtype=np.float32)
    return model.components_.T.astype(np.float32), spread.astype(np.float32), usual


def _fit_linear(unit: Float32Array, kinds: np.ndarray, kind: int) -> Float32Array:
    """Weights and bias of a logistic regression that tells one kind from native knees."""
    chosen = (kinds == NATIVE) | (kinds == kind)
    model = LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=200)
    model.fit(unit[chosen], kinds[chosen] == kind)
    return np.append(model.coef_[0], model.intercept_[0]).astype(np.float32)


def _fit_places(
    examples: Sequence[Example], seed: int
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """The network that tells metal and growth plates at each place: scaling and two layers."""
    chosen = [example for example in examples if example.kind != OTHER]
    native = np.stack([by_place(e.features) for e in chosen if e.kind == NATIVE])
    centre = native.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    scale = native.std(axis=(0, 1), dtype=np.float64).astype(np.float32) + 1e-3
    inputs, targets = [], []
    for example in chosen:
        covered = example.covered.ravel()
        clear = (covered >= _COVERED) | (covered <= _FREE)
        flat = by_place(example.features)[clear].astype(np.float32)
        told = np.zeros((len(flat), 2), dtype=np.float32)
        if example.kind != NATIVE:
            told[:, example.kind - IMPLANT] = covered[clear] >= _COVERED
        inputs.append(((flat - centre) / scale).astype(np.float16))
        targets.append(told)
    network = _trained(np.concatenate(inputs), np.concatenate(targets), seed)
    return centre, scale, _layer(network[0]), _layer(network[2])


def _trained(inputs: np.ndarray, targets: Float32Array, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(inputs.shape[1], _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 2))
    steps = max(1, len(inputs) // _BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps * _EPOCHS)
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
    for _ in range(_EPOCHS):
        order = torch.randperm(len(x))
        for step in range(steps):
            batch = order[step * _BATCH : (step + 1) * _BATCH]
            loss = F.binary_cross_entropy_with_logits(network(x[batch].float()), y[batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return network


def _layer(linear: nn.Module) -> Float32Array:
    """Weights and, in the last row, biases: ``(inputs + 1, outputs)``."""
    weight, bias = (p.detach().numpy() for p in linear.parameters())
    return np.concatenate([weight.T, bias[None]]).astype(np.float32)
