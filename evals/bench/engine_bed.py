"""The engine that is measured: made once, with an empty cache for each workload, and the clocks beside it."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ...llm.critics import make_critic
from ...llm.engines.base import EngineCounters, Generation, Sampling
from ...llm.load import source_of
from ...llm.tape.tape import Tape
from ...llm.text.formats import Format, format_for
from ...llm.text_model import TextModel
from .engine_calls import Call, Recorder
from .engine_shapes import write_shape

TICKS = 100
"""Of the processor time in /proc a second, on every Linux."""


class Stretch(NamedTuple):
    """Part of a workload: wall and processor seconds, and the tokens written in them."""

    wall: float
    processor: float
    generated: int

    def since(self, before: Stretch) -> Stretch:
        """What came after `before`, where both are counted from one beginning."""
        return Stretch(self.wall - before.wall, self.processor - before.processor, self.generated - before.generated)


@dataclass(frozen=True)
class Taken:
    """One workload on an engine whose cache was empty: its calls and what it took.

    wall, processor: seconds; processor time is of all threads and of the engine's processes. idle: wall seconds in
    which the engine had nothing to do or waited for its caller. full: the part of it before the engine began to run
    empty at the end (`Recorder.thinner`), None where nobody said when. early: the calls sent in that part, or all.
    """

    calls: Sequence[Call]
    wall: float
    processor: float
    idle: float
    computed: int
    cached: int
    full: Stretch | None = None
    early: Sequence[Call] = ()

    @property
    def whole(self) -> Stretch:
        """All of it."""
        return Stretch(self.wall, self.processor, self.generated)

    @property
    def generated(self) -> int:
        """Tokens written."""
        return sum(len(call.written) for call in self.calls)

    @property
    def prefilled(self) -> int:
        """Positions of prompts that continuations had to compute."""
        return sum(call.prefilled for call in self.calls if isinstance(call.answer, Generation))


class Bed:
    """One engine under measurement.

    engine: transformers or vllm. dummy: `model` is a shape, its weights are random. device: for vLLM what it is built
    for. rows: the most requests that the engine works on at once. Errors: ValueError, ImportError as the engine's own.
    """

    def __init__(self, engine: str, model: str, *, dummy: bool = False, device: str = "cpu", rows: int = 64) -> None:
        self.engine, self.device, self.rows = engine, device, rows
        self._folder = tempfile.TemporaryDirectory(prefix="forethought-shape-") if dummy else None
        self.source = str(write_shape(model, Path(self._folder.name))) if self._folder else source_of(model)
        self._make, self._home = self._maker(dummy), None
        first = self.fresh()
        self.tokenizer, self.context, self.vocabulary = first.tokenizer, first.context, first.vocabulary
        self.format: Format = format_for(self.tokenizer, self.source if Path(self.source).is_dir() else None)

    def _maker(self, dummy: bool) -> Callable[[], Any]:
        if self.engine == "vllm":
            from ...llm.engines.vllm.engine import VllmEngine
            from ...llm.engines.vllm.thread import checked_device

            self.device = checked_device(self.device)
            options = {"load_format": "dummy"} if dummy else {}
            made = VllmEngine(self.source, device=self.device, max_batch=self.rows, **options)
            return lambda: made
        if self.engine != "transformers":
            raise ValueError(f"no engine {self.engine!r} to measure; there are transformers, vllm")
        from ...llm.engines.transformers.engine import TransformersEngine

        model, tokenizer = _loaded(self.source, self.device, dummy)
        return lambda: TransformersEngine(model, tokenizer=tokenizer, device=self.device, max_batch=self.rows)

    @property
    def block(self) -> int:
        """Tokens that the cache finds together or not at all."""
        return int(self._home.llm.vllm_config.cache_config.block_size) if self._home else 1

    def fresh(self) -> Any:
        """The engine with an empty cache and counters at 0."""
        engine = self._make()
        self._home = engine.thread if self.engine == "vllm" else None
        if self._home is not None:
            asyncio.run(_emptied(self._home))
            engine.counters = EngineCounters()
        return engine

    def model(self, engine: Any, value: str, tape: Tape | None = None) -> TextModel:
        """The text model over an engine, with a tape of its own unless given one."""
        sampling = Sampling(0.8, 1.0, self.format.max_step_tokens)
        return TextModel(engine, self.format, make_critic(value), sampling, tape=tape)

    def measured(self, work: Callable[[Any], Awaitable[Any]]) -> Taken:
        """What `work` takes on the engine with an empty cache."""
        engine = Recorder(self.fresh())
        marks: list[Stretch] = []
        engine.thinner = lambda: marks.append(self._now(engine))
        with old_garbage_aside():
            begun = self._now(engine)
            asyncio.run(_done(work(engine)))
            wall, processor, _ = self._now(engine).since(begun)
        counters, calls = engine.counters, engine.calls
        mark = marks[0] if marks and marks[0].generated else None
        full = mark.since(begun) if mark else None
        early = [call for call in calls if call.begun <= mark.wall] if mark else calls
        idle = wall - counters.busy_seconds
        return Taken(calls, wall, processor, idle, counters.computed, counters.cached, full, early)

    def _now(self, engine: Recorder) -> Stretch:
        return Stretch(time.perf_counter(), self.processor_seconds(), engine.counters.generated)

    def processor_seconds(self) -> float:
        """Of this process and of the engine's own."""
        return time.process_time() + sum(map(_spent_by, self._home.processes() if self._home else ()))

    def named(self) -> str:
        """The device as torch knows it."""
        if self.device != "cpu" and torch.cuda.is_available():
            return torch.cuda.get_device_name()
        return f"{os.cpu_count()} cores CPU"

    def __enter__(self) -> Bed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the engine's processes; a made folder goes too."""
        if self._home is not None:
            self._home.stop()
        if self._folder is not None:
            self._folder.cleanup()


@contextmanager
def old_garbage_aside() -> Iterator[None]:
    """Garbage is looked for only among what is made within: else a workload that makes many objects pays for looking
    through those of the libraries, and through all calls that were recorded before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _loaded(source: str, device: str, dummy: bool) -> tuple[Any, Any]:
    """Model and tokenizer; with `dummy` the weights are drawn as the model's own initialisation draws them."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from ...llm.engines.transformers.loading import load_model

    if not dummy:
        return load_model(source, device, None)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source), dtype=dtype)
    return model, AutoTokenizer.from_pretrained(source)


async def _emptied(home: Any) -> None:
    """Forget vLLM's cached prefixes, which it refuses while a request that was given up still holds some."""
    for _ in range(50):
        if await home.run(home.llm.reset_prefix_cache) is not False:
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("vLLM would not empty its prefix cache")


async def _done(work: Awaitable[Any]) -> None:
    """Without a result, which `asyncio.run` would put into words where it gives the Ctrl-C handler back."""
    await work


def _spent_by(process: int) -> float:
    """Processor seconds of a process and its living children, by /proc; 0 where it is gone or there is no /proc."""
    at = Path(f"/proc/{process}")
    try:
        fields = (at / "stat").read_text().rpartition(")")[2].split()
        children = [child for thread in (at / "task").iterdir() for child in (thread / "children").read_text().split()]
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(_spent_by(int(child)) for child in children)
