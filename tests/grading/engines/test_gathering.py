"""Callers that wait for a busy network are served together, each with its own outputs."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from kellgren.arrays import Float32Array
from kellgren.grading.engines.gathering import Gathering
from kellgren.grading.engines.network_ends import NetworkOutputs


class Network:
    """Sums of each look, and the sizes of its calls; the first call waits to be let go."""

    def __init__(self, *, unactivated: bool = False) -> None:
        self.calls: list[int] = []
        self.unactivated = unactivated
        self.entered, self.go_on = threading.Event(), threading.Event()

    def __call__(self, images: Float32Array) -> NetworkOutputs:
        self.calls.append(len(images))
        self.entered.set()
        assert self.go_on.wait(60)
        logits = images.reshape(len(images), -1).sum(axis=1, keepdims=True)
        return logits, 2 * images, 3 * images if self.unactivated else None


def look(number: int, count: int = 2) -> Float32Array:
    """A caller's input, unlike every other's."""
    return np.arange(count * 12, dtype=np.float32).reshape(count, 3, 2, 2) + 100 * number


def callers(network: Network, gathering: Gathering, looks: list[Float32Array]) -> list[Future]:
    """A first caller that the network holds up, and others that come meanwhile; all are done."""
    with ThreadPoolExecutor(len(looks)) as pool:
        first = pool.submit(gathering, looks[0])
        assert network.entered.wait(60)
        others = [pool.submit(gathering, images) for images in looks[1:]]
        while len(gathering._waiting) < len(others):
            threading.Event().wait(0.001)
        network.go_on.set()
        return [first, *others]


@pytest.mark.parametrize("unactivated", [False, True])
def test_those_that_wait_share_one_call_and_get_their_own(unactivated: bool) -> None:
    network = Network(unactivated=unactivated)
    looks = [look(number, 1 + number % 2) for number in range(6)]
    done = callers(network, Gathering(network), looks)
    assert network.calls == [1, sum(len(images) for images in looks[1:])]
    for images, future in zip(looks, done, strict=True):
        logits, features, raw = future.result()
        np.testing.assert_array_equal(logits, images.sum(axis=(1, 2, 3), dtype="f")[:, None])
        np.testing.assert_array_equal(features, 2 * images)
        assert (raw is None) != unactivated
        if raw is not None:
            np.testing.assert_array_equal(raw, 3 * images)


def test_no_call_is_larger_than_it_may_be_but_for_one_callers_own() -> None:
    network = Network()
    done = callers(network, Gathering(network, most=4), [look(n, c) for n, c in enumerate([2] * 6)])
    assert sorted(network.calls) == [2, 2, 4, 4]
    assert len([future.result() for future in done]) == 6
    alone = Network()
    alone.go_on.set()
    assert len(Gathering(alone, most=4)(look(0, 6))[0]) == alone.calls[0] == 6


def test_an_error_is_for_all_who_shared_the_call_and_for_nobody_after() -> None:
    network = Network()

    def fails(images: Float32Array) -> NetworkOutputs:
        outputs = network(images)
        if len(images) > 2:
            raise RuntimeError("no memory left")
        return outputs

    gathering = Gathering(fails)
    done = callers(network, gathering, [look(number) for number in range(3)])
    done[0].result()
    for future in done[1:]:
        with pytest.raises(RuntimeError, match="no memory left"):
            future.result()
    assert len(gathering(look(7))[0]) == 2
