"""The engine under measurement, whose cache is emptied before each workload, and the clocks of the measurement."""

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
from .engine_calls import Call, RecordingEngine
from .engine_shapes import write_shape

CLOCK_TICKS = 100
"""Units per second of the processor times in /proc on Linux."""


class Timing(NamedTuple):
    """Wall and processor seconds of a workload or of a part of it, and the tokens generated in them."""

    wall: float
    processor: float
    generated: int

    def since(self, before: Timing) -> Timing:
        """The difference from an earlier reading of the same clocks."""
        return Timing(self.wall - before.wall, self.processor - before.processor, self.generated - before.generated)

    def seconds(self, clock: str) -> float:
        """Seconds by the clock "wall" or "processor"."""
        return self.wall if clock == "wall" else self.processor

    def tokens_per_second(self, clock: str) -> float:
        """Generated tokens per second."""
        return self.generated / max(1e-9, self.seconds(clock))


@dataclass(frozen=True)
class Measurement:
    """The calls and the time of one workload on an engine whose cache was empty.

    wall, processor: seconds; processor time includes all threads and the engine's processes. idle: wall seconds in
    which the engine had nothing to do or waited for its caller. computed, cached: tokens of the engine's counters.
    saturated: the part before the engine began to drain (`RecordingEngine.on_drain`), None where that was not
    reported. saturated_calls: the calls that were sent in that part, or all.
    """

    calls: Sequence[Call]
    wall: float
    processor: float
    idle: float
    computed: int
    cached: int
    saturated: Timing | None = None
    saturated_calls: Sequence[Call] = ()

    @property
    def timing(self) -> Timing:
        """The timing of the whole workload."""
        return Timing(self.wall, self.processor, self.generated)

    @property
    def generated(self) -> int:
        """Generated tokens."""
        return sum(len(call.written) for call in self.calls)

    @property
    def prefilled(self) -> int:
        """Prompt tokens that continuations had to compute."""
        return sum(call.prefilled for call in self.calls if isinstance(call.answer, Generation))


class EngineHarness:
    """One engine under measurement.

    engine: transformers or vllm. dummy: `model` is a shape and its weights are random. device: must be the one that
    vLLM is built for. rows: the most requests in a batch of the engine.
    Errors: ValueError, OSError and ImportError of the engine.
    """

    def __init__(self, engine: str, model: str, *, dummy: bool = False, device: str = "cpu", rows: int = 64) -> None:
        self.engine, self.device, self.rows = engine, device, rows
        self._folder = tempfile.TemporaryDirectory(prefix="forethought-shape-") if dummy else None
        self.source = str(write_shape(model, Path(self._folder.name))) if self._folder else source_of(model)
        self._make, self._home = self._maker(dummy), None
        first = self.fresh_engine()
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
        """Tokens per block of the prefix cache, which are found together or not at all."""
        return int(self._home.llm.vllm_config.cache_config.block_size) if self._home else 1

    def fresh_engine(self) -> Any:
        """The engine with an empty cache and zero counters."""
        engine = self._make()
        if self.engine == "vllm":
            self._home = engine.thread
            asyncio.run(_emptied(self._home))
            engine.counters = EngineCounters()
        return engine

    def model(self, engine: Any, value: str, tape: Tape | None = None) -> TextModel:
        """The text model over an engine, with a new tape unless one is given."""
        sampling = Sampling(0.8, 1.0, self.format.max_step_tokens)
        return TextModel(engine, self.format, make_critic(value), sampling, tape=tape)

    def measure(self, work: Callable[[Any], Awaitable[Any]]) -> Measurement:
        """Run `work` on the engine with an empty cache and measure it."""
        engine = RecordingEngine(self.fresh_engine())
        marks: list[Timing] = []
        engine.on_drain = lambda: marks.append(self._now(engine))
        with garbage_collector_frozen():
            begun = self._now(engine)
            asyncio.run(_without_result(work(engine)))
            wall, processor, _ = self._now(engine).since(begun)
        counters, calls = engine.counters, engine.calls
        mark = marks[0] if marks and marks[0].generated else None
        saturated = mark.since(begun) if mark else None
        early = [call for call in calls if call.begun <= mark.wall] if mark else calls
        idle = wall - counters.busy_seconds
        return Measurement(calls, wall, processor, idle, counters.computed, counters.cached, saturated, early)

    def _now(self, engine: RecordingEngine) -> Timing:
        return Timing(time.perf_counter(), self.processor_seconds(), engine.counters.generated)

    def processor_seconds(self) -> float:
        """Processor seconds of this process and of the engine's processes so far."""
        return time.process_time() + sum(map(_processor_seconds_of, self._home.processes() if self._home else ()))

    def device_name(self) -> str:
        """The name of the device as torch reports it."""
        if self.device != "cpu" and torch.cuda.is_available():
            return torch.cuda.get_device_name()
        return f"{os.cpu_count()} cores CPU"

    def __enter__(self) -> EngineHarness:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the engine's processes and delete the folder of a shape."""
        if self._home is not None:
            self._home.stop()
        if self._folder is not None:
            self._folder.cleanup()


@contextmanager
def garbage_collector_frozen() -> Iterator[None]:
    """Exclude existing objects from garbage collection inside the block.

    Otherwise a workload that allocates many objects is charged for scanning those of the libraries and all calls that
    were recorded before.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _loaded(source: str, device: str, dummy: bool) -> tuple[Any, Any]:
    """Model and tokenizer; with `dummy` the weights are those of the model's random initialisation."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from ...llm.engines.transformers.loading import load_model

    if not dummy:
        return load_model(source, device, None)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    return model, AutoTokenizer.from_pretrained(source, trust_remote_code=False)


async def _emptied(home: Any) -> None:
    """Empty vLLM's prefix cache, which it refuses while a cancelled request still holds blocks."""
    for _ in range(50):
        if await home.run(home.llm.reset_prefix_cache) is not False:
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("vLLM would not empty its prefix cache")


async def _without_result(work: Awaitable[Any]) -> None:
    """Await `work` and drop its result, since `asyncio.run` would format it when it restores the Ctrl-C handler."""
    await work


def _processor_seconds_of(process: int) -> float:
    """Processor seconds of a process and its living children from /proc; 0 where there is none."""
    folder = Path(f"/proc/{process}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        children = [
            child for thread in (folder / "task").iterdir() for child in (thread / "children").read_text().split()
        ]
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS + sum(
        _processor_seconds_of(int(child)) for child in children
    )
