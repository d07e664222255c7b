"""An extension of griffe that makes Markdown of this package's docstrings, for the pages of docs/reference/.

The docstrings describe arguments and fields as lines of the form `name: text`, errors as `Errors: text`, and modules of
a package as `name.py  text`. Markdown would join such lines to one paragraph; here they become the entries of a list.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import griffe

FIELD = re.compile(r"([A-Za-z_]\w*(?:(?:, | and )[A-Za-z_]\w*)*(?: \[[^\]]*\])?): (?=\S)")
"""The beginning of a line that describes one name or several, with their shape."""

MODULE = re.compile(r"`?([a-z_]+(?:/|\.py))`?(?:: | {2,})(?=\S)")
"""The beginning of a line that describes a module or folder of a package."""


class HouseDocstrings(griffe.Extension):
    """Makes lists of the fields in all docstrings, and public names of the stubs of packages that import lazily."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object, where it has one."""
        if obj.docstring is not None:
            obj.docstring.value = field_lists(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Export the names that a package's `__init__.pyi` lists."""
        for module in pkg.modules.values():
            stub = Path(str(module.filepath)).with_suffix(".pyi")
            if module.exports is None and stub.is_file():
                module.exports = stub_names(stub.read_text(encoding="utf-8"))


def stub_names(source: str) -> list[str]:
    """The names in the `__all__` of a stub."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def field_lists(docstring: str) -> str:
    """The docstring with a list entry for each line `name: text` and its continuation lines."""
    first, *lines = inspect.cleandoc(docstring).splitlines() or [""]
    written = [first]
    in_list = False
    for line in lines:
        found = FIELD.match(line) or MODULE.match(line)
        if found is not None:
            if not in_list and written[-1]:
                written.append("")
            written.append(f"- **{found[1]}**: {line[found.end() :]}")
        elif in_list and line:
            written.append("  " + line.strip())
        else:
            written.append(line)
        in_list = found is not None or (in_list and bool(line))
    return "\n".join(written)
