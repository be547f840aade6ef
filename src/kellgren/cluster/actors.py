"""The actors of a batch: recruited, compared, fed with bounded work, and replaced when they die."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any, Literal

from kellgren.batch.units import Unit
from kellgren.cluster.ray_driver import TOKENS
from kellgren.cluster.remote_grader import Job, UnitRows, order_text, rows_of
from kellgren.cluster.software import check_software, software
from kellgren.errors import ClusterError, KellgrenError

MOST_DEATHS = 2
"""Actors that may die at one film before it is given up."""
MOST_TRIES = 6
"""Starts of a unit, those included that a lost node or connection ended."""
IN_HAND = 2
"""Units of an actor: the one that it grades, and one that waits for it there."""
_MOST_EARLY_DEATHS = 5  # of actors, one after the other, before any of them was ready
_SECONDS_BETWEEN_LOOKS = 2.0  # at the cluster, for cores that came, or became free by a death
_SECONDS_TO_DIE = 5.0  # until the cluster knows of a death
_SECONDS_TO_SAY = 30.0  # that no core is free

Step = Literal["asked", "opening", "grading"]


@dataclass(slots=True)
class Work:
    """A unit of work, and what became of it so far: starts, and actors that died at it."""

    unit: Unit
    tries: int = 0
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Actor:
    handle: Any
    step: Step = "asked"
    host: str = ""
    node: str = ""
    works: deque[Work] = field(default_factory=deque)  # the oldest is the one that it is at


@dataclass(slots=True)
class _Pending:
    """An answer that is waited for; numbers rise, so that an actor's answers keep their order."""

    number: int
    actor: _Actor
    step: Step


class Actors:
    """Actors on the nodes of a cluster, one a core.

    A unit whose actor is lost is tried again by another. A film at which actors die is told from
    one that was merely lost with its node, and is given up after `MOST_DEATHS`; of a pair, each
    is tried by itself then.

    Args:
        ray: the module, connected.
        job: what the actors are told.
        say: called with what a person should know.
    """

    def __init__(self, ray: Any, job: Job, say: Callable[[str], None] = lambda words: None) -> None:
        self._ray, self._job, self._say = ray, job, say
        self._here = software()
        self._actors: list[_Actor] = []
        self._pending: dict[Any, _Pending] = {}
        self._numbers = count()
        self._units: Iterator[Unit | None] = iter(())
        self._again: deque[Work] = deque()
        self._given_up: list[Work] = []
        self._early_deaths = 0
        self._looked = -_SECONDS_BETWEEN_LOOKS
        self._silent_since = time.monotonic()

    @cached_property
    def _parcel(self) -> Any:
        """Put into the cluster's store once; each node fetches it once."""
        return None if self._job.parcel is None else self._ray.put(self._job.parcel)

    @cached_property
    def _actor_class(self) -> Any:
        options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
        return self._ray.remote(**options)(self._job.grader)

    def graded(
        self, units: Iterator[Unit | None], list_more: Callable[[], bool]
    ) -> Iterator[tuple[Work, UnitRows]]:
        """Grade units of work; they come in the order in which they are done.

        Args:
            units: ``None`` where the next one is not known yet.
            list_more: called while the actors work; whether it is of use to call it again.

        Yields:
            Each unit with the rows of each of its files; with none where it was given up.

        Raises:
            ClusterError: a node is not like this machine, or no actor can work.
            KellgrenError: what an actor says of the bundle or of an option.
        """
        self._units = units
        try:
            while self._is_more():
                self._recruit()
                self._feed()
                more = list_more()
                yield from self._settled(0 if more else _SECONDS_BETWEEN_LOOKS)
                yield from ((work, []) for work in self._given_up)
                self._given_up.clear()
        finally:
            self.dismiss()

    def _is_more(self) -> bool:
        """Whether a unit is under way or left; the next one waits then, where it is known."""
        if any(actor.works for actor in self._actors) or self._again:
            return True
        unit = next(self._units, ())
        if unit:
            self._again.append(Work(unit))
        return unit != ()

    def _next(self) -> Work | None:
        """The next unit; ``None``: there is no more, or it is not known yet."""
        if self._again:
            return self._again.popleft()
        unit = next(self._units, ())
        return Work(unit) if unit else None

    def dismiss(self) -> None:
        """End all actors."""
        for actor in self._actors:
            self._ray.kill(actor.handle, no_restart=True)
        self._actors.clear()
        self._pending.clear()

    def _recruit(self) -> None:
        """Have an actor for each core: at the start, for lost ones, and on nodes that join."""
        if time.monotonic() - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        for _ in range(min(cores, self._job.most or cores) - len(self._actors)):
            actor = _Actor(self._actor_class.remote())
            self._actors.append(actor)
            self._expect(actor, "asked", actor.handle.software.remote())
        if any(actor.step == "grading" for actor in self._actors):
            self._silent_since = time.monotonic()
        elif time.monotonic() - self._silent_since > _SECONDS_TO_SAY:
            self._silent_since = time.monotonic()
            self._say("no core of the cluster has begun yet: they may be in use, or nodes start")

    def _expect(self, actor: _Actor, step: Step, ref: Any) -> None:
        actor.step = step
        self._pending[ref] = _Pending(next(self._numbers), actor, step)

    def _feed(self) -> None:
        """Give the actors that are ready as much as they may have, one unit each in turn."""
        for depth in range(1, IN_HAND + 1):
            for actor in self._actors:
                if actor.step != "grading" or len(actor.works) >= depth:
                    continue
                if (work := self._next()) is None:
                    return
                work.tries += 1
                actor.works.append(work)
                self._expect(actor, "grading", actor.handle.grade.remote(order_text(work.unit)))

    def _settled(self, seconds: float) -> Iterator[tuple[Work, UnitRows]]:
        """Wait for an answer, and take all that are there, oldest first."""
        refs = list(self._pending)
        if not refs:
            time.sleep(seconds / 10)  # no core, for now
            return
        self._ray.wait(refs, num_returns=1, timeout=seconds)
        done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in sorted(done, key=lambda ref: self._pending[ref].number):
            if (pending := self._pending.pop(ref, None)) is None:
                continue  # its actor was lost at an older one
            answer = self._answer(ref, pending.actor)
            if answer is None:
                continue
            if pending.step == "grading":
                yield pending.actor.works.popleft(), rows_of(answer)
            else:
                self._admit(pending.actor, pending.step, answer)

    def _answer(self, ref: Any, actor: _Actor) -> Any:
        """What an actor returned; ``None`` where it is lost."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, KellgrenError):
                raise error.cause from None
            raise
        except errors.RayActorError as error:
            if error.actor_init_failed or "failed to import" in str(error):
                raise _cannot_begin(str(error)) from None
            died = isinstance(error, errors.ActorDiedError) or self._has_died(actor)
            self._lose(actor, str(error), at_work=died and self._stands(actor.node))
        except (errors.ObjectLostError, errors.OutOfMemoryError) as error:
            self._lose(actor, str(error), at_work=False)
        return None

    def _admit(self, actor: _Actor, step: Step, answer: Mapping[str, str]) -> None:
        """Take the next step with an actor that is not ready yet."""
        if step == "asked":
            there = dict(answer)
            actor.host, actor.node = there.pop("host"), there.pop("node")
            check_software(self._here, there, actor.host)
            opening = actor.handle.open.remote(
                self._parcel, dict(self._job.options), self._job.force
            )
            self._expect(actor, "opening", opening)
            return
        if dict(answer) != dict(self._job.model):
            differing = [key for key, value in self._job.model.items() if answer.get(key) != value]
            raise ClusterError(
                f"node {actor.host}",
                f"opened another model than this machine ({', '.join(differing)})",
                "Install the same package on every node",
            )
        actor.step = "grading"
        self._early_deaths = 0

    def _has_died(self, actor: _Actor) -> bool:
        """Whether an actor that cannot be reached is dead, which the cluster may learn later."""
        try:
            self._ray.get(actor.handle.software.remote(), timeout=_SECONDS_TO_DIE)
        except self._ray.exceptions.ActorDiedError:
            return True
        except self._ray.exceptions.RayError:
            return False
        return False

    def _stands(self, node: str) -> bool:
        """Whether a node is still part of the cluster, as far as the cluster knows by now."""
        return any(one["NodeID"] == node and one["Alive"] for one in self._ray.nodes())

    def _lose(self, actor: _Actor, reason: str, *, at_work: bool) -> None:
        """Give up an actor; its units are tried again.

        Args:
            actor: that no longer answers.
            reason: in Ray's words.
            at_work: its process died on a node that stands: perhaps of what it was at.
        """
        self._actors.remove(actor)
        self._pending = {ref: it for ref, it in self._pending.items() if it.actor is not actor}
        self._ray.kill(actor.handle, no_restart=True)
        if actor.step != "grading":
            self._early_deaths += 1
            if self._early_deaths >= _MOST_EARLY_DEATHS:
                raise _cannot_begin(reason)
        for position, work in enumerate(actor.works):
            work.deaths += at_work and position == 0
            self._again.extend(self._tried_again(work))

    def _tried_again(self, work: Work) -> Sequence[Work]:
        if work.deaths < MOST_DEATHS and work.tries < MOST_TRIES:
            return [work]
        if len(work.unit) == 1:
            self._given_up.append(work)
            return []
        # Which of the two it was is not known: each shows it by itself.
        return [Work((file,), deaths=MOST_DEATHS - 1) for file in work.unit]


def _cannot_begin(reason: str) -> ClusterError:
    last = [line.strip() for line in reason.splitlines() if line.strip()]
    said = last[-1].rstrip(".") if last else "no reason given"
    remedy = "Install the same kellgren on every node: pip install '.[cluster]'"
    if "never ran" in said:  # as Ray says it of a token that only one of both has
        remedy = f"Set {TOKENS}, as it was for ray start"
    return ClusterError("the cluster", f"its nodes cannot begin ({said})", remedy)
