"""forethought: one search core plans with any model.

The four packages `planning`, `llm`, `control` and `evals` live at the root of the repository; a wheel
installs them here. In a checkout this file finds them there, so that both look alike to an importer.
"""

from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).resolve().parents[2]
if (_root / "pyproject.toml").exists() and (_root / "planning" / "interface.py").exists():
    __path__.insert(0, str(_root))
