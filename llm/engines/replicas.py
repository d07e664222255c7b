"""Several copies of an engine, each in a Ray actor of its own, on this machine or over a cluster.

To whoever asks they are one engine. The requests of a problem go to one replica, whose cache holds its prefixes; a
lost replica's problems go on at the others. What an actor runs is any engine of this folder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .base import EngineCounters, EngineGone, Generation, Sampling, Score, Tokens
from .flops import UNKNOWN, Work
from .vllm.thread import EngineDied

MISSING = "replicas want Ray: pip install 'forethought[ray]'"
PATIENCE = 900.0
"""Seconds until a replica must have loaded its model: a large one is read from a slow disk first."""


class ReplicaLost(EngineGone):
    """No replica is left. Nothing recorded is lost: the same command goes on from here."""


@dataclass(frozen=True)
class About:
    """What a replica says of its engine; pid: of its process."""

    fingerprint: str
    context: int
    work: Work
    pid: int


class Replica:
    """What an actor is: an engine, asked over Ray. make: loads it, where the actor lives."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._engine = make()

    async def about(self) -> About:
        """The engine's own account."""
        engine = self._engine
        return About(engine.fingerprint, engine.context, getattr(engine, "work", UNKNOWN), os.getpid())

    async def generate(self, prompt: Tokens, sampling: Sampling, stream: int) -> Generation:
        """See `Engine.generate`."""
        done: Generation = await self._engine.generate(prompt, sampling, stream)
        return done

    async def score(self, prompt: Tokens, choices: Tokens) -> Score:
        """See `Engine.score`."""
        done: Score = await self._engine.score(prompt, choices)
        return done


class Homes:
    """Which replica a problem lives at. A problem is known by the first prompt asked for it, which all its others
    begin with; a new one goes to the replica with the fewest problems."""

    def __init__(self, replicas: int) -> None:
        self.alive = set(range(replicas))
        self.at: dict[Tokens, int] = {}
        self._lengths: set[int] = set()

    def of(self, prompt: Tokens) -> int:
        """The replica for this prompt. Errors: ReplicaLost where none is left."""
        for length in sorted(self._lengths, reverse=True):
            home = self.at.get(prompt[:length])
            if home is not None:
                return home
        if not self.alive:
            raise ReplicaLost("all replicas are lost; the same command goes on from here")
        load = [*self.at.values()]
        home = min(self.alive, key=lambda one: (load.count(one), one))
        if prompt:
            self.at[prompt] = home
            self._lengths.add(len(prompt))
        return home

    def lose(self, replica: int) -> None:
        """A replica is gone; its problems find another at their next request."""
        self.alive.discard(replica)
        self.at = {prompt: home for prompt, home in self.at.items() if home != replica}


class ReplicatedEngine:
    """An engine (`base.Engine`) made of `replicas` actors that each run what `make` loads.

    make: called in each actor's own process, so it and all it refers to must be there: on a cluster every machine has
    forethought and the model. tokenizer: the models'. cpus, gpus: what Ray is to set aside for each. Connects to the
    cluster in RAY_ADDRESS, to one that was connected to before, or else starts Ray on this machine.

    A request whose replica dies is asked anew of another: with an engine that keys its noise by stream, results are
    those of a run without the loss. lost: how many replicas died.

    Errors: ImportError without Ray; RuntimeError where a replica does not start; ReplicaLost where none is left.
    """

    def __init__(
        self, make: Callable[[], Any], tokenizer: Any, replicas: int, *, cpus: float = 1, gpus: float = 0
    ) -> None:
        if replicas < 1:
            raise ValueError(f"replicas is at least 1, got {replicas}")
        self._ray = _started(replicas, cpus)
        actor = self._ray.remote(Replica).options(num_cpus=cpus, num_gpus=gpus)
        self._actors = [actor.remote(make) for _ in range(replicas)]
        self.about = [self._told(one) for one in self._actors]
        first = self.about[0]
        if any(one.fingerprint != first.fingerprint for one in self.about):
            raise ValueError("the replicas run different models; each machine must have the same files")
        self.tokenizer, self.fingerprint = tokenizer, first.fingerprint
        self.context, self.work = min(one.context for one in self.about), first.work
        self.homes, self.counters, self.lost = Homes(replicas), EngineCounters(), 0
        self._closed = False

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt` on the replica of its problem."""
        done: Generation = await self._ask("generate", tuple(prompt), sampling, stream)
        self.counters.generated += sum(map(len, done.steps))
        return self._counted(done)

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices` after `prompt`, from the replica of its problem."""
        done: Score = await self._ask("score", tuple(prompt), tuple(choices))
        self.counters.scored += 1
        return self._counted(done)

    async def close(self) -> None:
        """End the actors; requests under way fail."""
        if not self._closed:
            self._closed = True
            for replica in self._actors:
                self._ray.kill(replica)

    def _told(self, replica: Any) -> About:
        try:
            about: About = self._ray.get(replica.about.remote(), timeout=PATIENCE)
        except self._ray.exceptions.GetTimeoutError:
            raise RuntimeError(
                f"a replica did not start within {PATIENCE:.0f} s; has the cluster room for it?"
            ) from None
        except self._ray.exceptions.RayActorError as error:
            raise RuntimeError(f"a replica did not start: {' '.join(str(error).split())[-400:]}") from error
        return about

    async def _ask(self, what: str, prompt: Tokens, *wanted: Any) -> Any:
        """Ask until a replica has answered, each time another where one is lost."""
        exceptions = self._ray.exceptions
        self.counters.requests += 1
        while True:
            if self._closed:
                raise RuntimeError("the engine was closed")
            home = self.homes.of(prompt)
            reference = getattr(self._actors[home], what).remote(prompt, *wanted)
            try:
                return await reference
            except (exceptions.RayActorError, EngineDied):
                self._lose(home)
            except exceptions.RayTaskError as error:
                raise error.cause from None
            except asyncio.CancelledError:
                self._ray.cancel(reference)
                raise

    def _lose(self, replica: int) -> None:
        if replica in self.homes.alive and not self._closed:
            self.homes.lose(replica)
            self.lost += 1

    def _counted(self, done: Any) -> Any:
        self.counters.cached += done.cached
        self.counters.computed += done.computed
        self.counters.busy_seconds += done.seconds
        return done


def _started(replicas: int, cpus: float) -> Any:
    """Ray, connected. ImportError that names the line to install."""
    try:
        import ray
    except ImportError:
        raise ImportError(MISSING) from None
    if not ray.is_initialized():
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        there = bool(os.environ.get("RAY_ADDRESS"))
        enough = {} if there else {"num_cpus": max(os.cpu_count() or 1, int(replicas * cpus) + 1)}
        ray.init(**quiet, **enough)
    return ray
