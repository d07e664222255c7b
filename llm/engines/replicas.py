"""Several copies of an engine, each in its own Ray actor, on this machine or across a cluster.

Callers see one engine. The requests of a problem go to one replica, whose cache holds its prefixes; if that replica
dies, the problem continues on another. An actor can run any engine of this folder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .base import Engine, EngineCounters, EngineGone, Generation, Sampling, Score, Tokens, install_line
from .flops import DecoderFlops
from .vllm.thread import EngineDied

Made = TypeVar("Made", Generation, Score)

START_TIMEOUT = 900.0
"""Seconds within which a replica must have loaded its model; a large one may come from a slow disk."""


class ReplicasGone(EngineGone):
    """No replica is left. What was recorded stays valid: the same command resumes the run."""


@dataclass(frozen=True)
class EngineInfo:
    """What a replica reports about its engine. pid: the id of its process."""

    fingerprint: str
    context: int
    flops: DecoderFlops
    pid: int


class Replica:
    """The class of the actors: an engine whose methods are called through Ray."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        """make: loads the engine in the actor's process."""
        self._engine = make()

    async def info(self) -> EngineInfo:
        """Describe the engine."""
        engine = self._engine
        return EngineInfo(engine.fingerprint, engine.context, engine.flops, os.getpid())

    async def generate(self, prompt: Tokens, sampling: Sampling, stream: int) -> Generation:
        """See `Engine.generate`."""
        return await self._engine.generate(prompt, sampling, stream)

    async def score(self, prompt: Tokens, choices: Tokens) -> Score:
        """See `Engine.score`."""
        return await self._engine.score(prompt, choices)


class ReplicaRouter:
    """Assigns each problem to a replica.

    A problem is identified by its first prompt, which is a prefix of all its later prompts. A new problem goes to the
    replica with the fewest problems.

    alive: numbers of the replicas that run. assigned: the replica of each first prompt.
    """

    def __init__(self, replicas: int) -> None:
        self.alive = set(range(replicas))
        self.assigned: dict[Tokens, int] = {}
        self._lengths: set[int] = set()

    def route(self, prompt: Tokens) -> int:
        """The replica for this prompt. Errors: ReplicasGone where none is left."""
        for length in sorted(self._lengths, reverse=True):
            replica = self.assigned.get(prompt[:length])
            if replica is not None:
                return replica
        if not self.alive:
            raise ReplicasGone("all replicas have died; run the same command again to resume from here")
        load = [*self.assigned.values()]
        replica = min(self.alive, key=lambda one: (load.count(one), one))
        if prompt:
            self.assigned[prompt] = replica
            self._lengths.add(len(prompt))
        return replica

    def remove(self, replica: int) -> None:
        """Forget a dead replica; its problems are assigned to others at their next request."""
        self.alive.discard(replica)
        self.assigned = {prompt: one for prompt, one in self.assigned.items() if one != replica}


class ReplicatedEngine(Engine):
    """`replicas` actors that each run the engine that `make` loads.

    A request whose replica dies is sent again to another one. With an engine that keys its noise by stream, the results
    are those of a run in which no replica died.

    died: how many replicas have died. infos: what each replica reported at the start. router: which problem is where.
    """

    def __init__(
        self, make: Callable[[], Engine], tokenizer: Any, replicas: int, *, cpus: float = 1, gpus: float = 0
    ) -> None:
        """Start the actors.

        make: called in each actor's process, so that everything it refers to must exist there: on a cluster every
        machine has forethought and the model. tokenizer: the models'. cpus, gpus: what Ray reserves for each actor.
        Connects to the cluster in RAY_ADDRESS, or to one connected to before, or else starts Ray on this machine.

        Errors: ImportError without Ray; RuntimeError where a replica does not start; ValueError for different models.
        """
        if replicas < 1:
            raise ValueError(f"replicas is at least 1, got {replicas}")
        self._ray = _connected_ray(replicas, cpus)
        actor = self._ray.remote(Replica).options(num_cpus=cpus, num_gpus=gpus)
        self._actors = [actor.remote(make) for _ in range(replicas)]
        self.infos = [self._load_info(one) for one in self._actors]
        first = self.infos[0]
        if any(one.fingerprint != first.fingerprint for one in self.infos):
            raise ValueError("the replicas run different models; each machine must have the same files")
        self.tokenizer, self.fingerprint = tokenizer, first.fingerprint
        self.context, self.flops = min(one.context for one in self.infos), first.flops
        self.router, self.counters, self.died = ReplicaRouter(replicas), EngineCounters(), 0
        self._closed = False

    async def generate(self, prompt: Sequence[int], sampling: Sampling, stream: int) -> Generation:
        """Continue `prompt` on the replica of its problem. Errors: ReplicasGone where none is left."""
        generation: Generation = await self._send("generate", tuple(prompt), sampling, stream)
        self.counters.generated += sum(map(len, generation.steps))
        return self._count(generation)

    async def score(self, prompt: Sequence[int], choices: Sequence[int]) -> Score:
        """Log-probabilities of single next tokens `choices` after `prompt`, from the replica of its problem."""
        score: Score = await self._send("score", tuple(prompt), tuple(choices))
        self.counters.scored += 1
        return self._count(score)

    async def close(self) -> None:
        """End the actors; running requests fail."""
        if not self._closed:
            self._closed = True
            for replica in self._actors:
                self._ray.kill(replica)

    def _load_info(self, replica: Any) -> EngineInfo:
        """Wait until a replica has loaded its engine."""
        try:
            info: EngineInfo = self._ray.get(replica.info.remote(), timeout=START_TIMEOUT)
        except self._ray.exceptions.GetTimeoutError:
            raise RuntimeError(f"a replica did not start within {START_TIMEOUT:.0f} s; is the cluster full?") from None
        except self._ray.exceptions.RayActorError as error:
            raise RuntimeError(f"a replica did not start: {' '.join(str(error).split())[-400:]}") from error
        return info

    async def _send(self, method: str, prompt: Tokens, *arguments: Any) -> Any:
        """Call a replica's method, and call another replica's whenever one dies."""
        exceptions = self._ray.exceptions
        self.counters.requests += 1
        while True:
            if self._closed:
                raise RuntimeError("the engine was closed")
            replica = self.router.route(prompt)
            reference = getattr(self._actors[replica], method).remote(prompt, *arguments)
            try:
                return await reference
            except (exceptions.RayActorError, EngineDied):
                self._remove(replica)
            except exceptions.RayTaskError as error:
                raise error.cause from None
            except asyncio.CancelledError:
                self._ray.cancel(reference)
                raise

    def _remove(self, replica: int) -> None:
        if replica in self.router.alive and not self._closed:
            self.router.remove(replica)
            self.died += 1

    def _count(self, made: Made) -> Made:
        self.counters.cached += made.cached
        self.counters.computed += made.computed
        self.counters.busy_seconds += made.seconds
        return made


def _connected_ray(replicas: int, cpus: float) -> Any:
    """The module ray, connected to a cluster. ImportError that names the command to install it."""
    try:
        import ray
    except ImportError:
        raise ImportError(f"replicas need Ray: {install_line('ray')}") from None
    if not ray.is_initialized():
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        cluster = bool(os.environ.get("RAY_ADDRESS"))
        enough = {} if cluster else {"num_cpus": max(os.cpu_count() or 1, int(replicas * cpus) + 1)}
        ray.init(**quiet, **enough)
    return ray
