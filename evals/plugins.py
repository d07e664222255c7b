"""Parts of one's own by file: from `FILE.py:Name` or `module:Name` to the object of that name.

The file is imported, which runs it: what a user names on the command line is trusted as a script of theirs is. It is
imported once as long as its content stays the same, so that its classes keep their identity.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ..planning.fingerprint import fingerprint
from .errors import BadInput

REFERENCE = re.compile(r"(?P<file>[^:*+,]+(?:\.py)?|[A-Za-z]:[^:*+,]+\.py):(?P<name>[A-Za-z_][\w.]*)")
"""`FILE.py:Name` or `module:Name`; a drive letter may precede the file."""

_loaded: dict[Path, tuple[str, ModuleType]] = {}


def is_reference(text: str) -> bool:
    """Whether a name on the command line refers to an object in a file or module."""
    return REFERENCE.fullmatch(text.strip()) is not None


def short_name(text: str) -> str:
    """What an object is called in rows, tables, figures and folders: `Name` of `FILE.py:Name`; other texts as given."""
    return text.strip().rpartition(":")[2].rpartition(".")[2] if is_reference(text) else text


def load_object(text: str) -> Any:
    """The object that `FILE.py:Name` or `module:Name` refers to: a class, a function or an instance.

    Modules are found beside the current folder too.

    Errors: BadInput where there is no such file, module or name, and where importing it fails, with the line.
    """
    found = REFERENCE.fullmatch(text.strip())
    if found is None:
        raise BadInput(f"{text!r} names no object; write FILE.py:Name or module:Name")
    module, where = _module_of(found["file"], text), found["file"]
    value: Any = module
    for part in found["name"].split("."):
        if part not in vars(value):
            names = [name for name in _own_names(module) if not name.startswith("_")]
            raise BadInput(f"{where} has no {found['name']}; it has {', '.join(names) or 'no names'}")
        value = vars(value)[part]
    return value


def made(value: Any, text: str, **settings: object) -> Any:
    """An instance: of a class, or what a function returns; any other object is returned as it is.

    text: what it is called in errors. settings: passed as far as the class or function has parameters of these names.
    Errors: BadInput for a class or function that needs other arguments, and for one that raises an error.
    """
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return value
    if inspect.isabstract(value):
        raise BadInput(f"{text} lacks {', '.join(sorted(vars(value)['__abstractmethods__']))}")
    try:
        parameters = inspect.signature(value).parameters
    except (TypeError, ValueError):
        parameters = inspect.signature(lambda: None).parameters
    given = {name: setting for name, setting in settings.items() if name in parameters}
    needed = [name for name, one in parameters.items() if _is_needed(one) and name not in given]
    if needed:
        raise BadInput(
            f"{text} needs arguments ({', '.join(needed)}); give them defaults, or name a function or object"
        )
    with own_errors(text):
        return value(**given)


@contextmanager
def own_errors(text: str) -> Iterator[None]:
    """Turn an error in code of the user's into BadInput with its file and line. text: what is running."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{text}: {described(error)}") from error


def described(error: BaseException) -> str:
    """An error in one line, with the last line of a file outside this package that it came through."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_foreign(frame.filename)]
    return f"{own[-1].filename}, line {own[-1].lineno}: {reason}" if own else reason


def fingerprint_of(value: Any) -> str:
    """A hash of the file that defines an object, or of its class; of its representation where there is no file.

    It covers that file alone and not what the file imports.
    """
    kind = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    try:
        content = Path(inspect.getfile(kind)).read_bytes()
    except (TypeError, OSError):
        content = b""
    text = repr(value)
    stable = "" if " at 0x" in text else text
    return fingerprint([content, f"\0{kind.__qualname__}\0{stable}"], "blake2b")


def fingerprints_of(values: Mapping[str, Any]) -> dict[str, str]:
    """The fingerprint of each object by its name; part of a run's settings, so that changed code starts a new run."""
    return {name: fingerprint_of(value) for name, value in values.items()}


def lacking(value: Any, names: Mapping[str, Callable[[Any], bool]]) -> list[str]:
    """The names of the attributes that an object of the user's lacks, or that fail their check."""
    return [name for name, fits in names.items() if not fits(getattr(value, name, None))]


def _is_needed(parameter: inspect.Parameter) -> bool:
    variable = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and not variable


def _is_foreign(filename: str) -> bool:
    package = Path(__file__).resolve().parents[1]
    path = Path(filename)
    return path.is_file() and package not in path.resolve().parents and Path(sys.prefix) not in path.parents


def _own_names(module: ModuleType) -> list[str]:
    """The public names that a module defines itself; all names where none is its own."""
    everything = [name for name in vars(module) if not name.startswith("_")]
    own = [name for name in everything if getattr(vars(module)[name], "__module__", None) == module.__name__]
    return own or [name for name in everything if not inspect.ismodule(vars(module)[name])]


def _module_of(where: str, text: str) -> ModuleType:
    path = Path(where).expanduser()
    if not where.endswith(".py"):
        with _importing(Path.cwd(), where):
            return import_module(where)
    if not path.is_file():
        raise BadInput(f"there is no file {where}, which {text!r} names")
    return _file_module(path.resolve(), where)


def _file_module(path: Path, where: str) -> ModuleType:
    """The module of a file, imported anew where its content has changed."""
    digest = fingerprint([path.read_bytes()], "blake2b")
    if path in _loaded and _loaded[path][0] == digest:
        return _loaded[path][1]
    name = f"{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{fingerprint([str(path)], 'blake2b')}"
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        with _importing(path.parent, where):
            spec.loader.exec_module(module)
    except BadInput:
        del sys.modules[name]
        raise
    _loaded[path] = digest, module
    return module


@contextmanager
def _importing(folder: Path, where: str) -> Iterator[None]:
    """Let a module import its neighbours; an error becomes BadInput."""
    sys.path.insert(0, str(folder))
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and where.split(".")[0] == error.name:
            raise BadInput(f"there is no module {where}") from error
        raise BadInput(f"{where} cannot be imported: {described(error)}") from error
    except (Exception, SystemExit) as error:
        raise BadInput(f"{where} cannot be imported: {described(error)}") from error
    finally:
        sys.path.remove(str(folder))
