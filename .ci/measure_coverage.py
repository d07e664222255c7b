"""Coverage of each sub-package by the tests in the folder of `tests` that mirrors it, and by no others.

`python .ci/measure_coverage.py` measures all, `python .ci/measure_coverage.py planning/trees llm/text` some. The exit
code is 1 where a sub-package is covered to less than 90 % of its lines, or a test fails. The modules directly in a
package are measured by all tests of its mirror folder, those of its sub-packages included.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("planning", "control", "llm", "evals")
LEAST = 90.0
KERNELS = ("planning", "control/nets")
"""What holds compiled kernels, whose lines can be traced only where they run as Python."""


def sub_packages(package: str) -> list[str]:
    """The folders of modules in a package, each with "/" between the names."""
    return sorted(f"{package}/{path.parent.name}" for path in (ROOT / package).glob("*/__init__.py"))


def run_tests(name: str, tests: list[str], data: Path) -> bool:
    """Run tests under coverage; whether all passed."""
    command = [sys.executable, "-m", "coverage", "run", f"--data-file={data}", "-m", "pytest", "-q", *tests]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    if name.startswith(KERNELS):
        environment["NUMBA_DISABLE_JIT"] = "1"
        command += ["-m", "not compiled"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(f"{name}: the tests failed\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def percent(files: list[str], data: list[Path]) -> float:
    """The share of lines of these files (patterns relative to the root) that the runs in `data` reached."""
    found = Coverage(data_file=None, config_file=ROOT / "pyproject.toml")
    found.combine([str(path) for path in data], keep=True)
    return found.report(include=[str(ROOT / file) for file in files], file=io.StringIO())


def measure(package: str, chosen: list[str], folder: Path) -> dict[str, float | None]:
    """Per sub-package the share of covered lines, None where a test failed; of the package itself where all are run."""
    found: dict[str, float | None] = {}
    parts = [name for name in sub_packages(package) if not chosen or name in chosen or package in chosen]
    files = {name: folder / name.replace("/", "_") for name in parts}
    for name, data in files.items():
        found[name] = percent([f"{name}/*"], [data]) if run_tests(name, [f"tests/{name}"], data) else None
        print(f"{name:<28} {'failed' if found[name] is None else f'{found[name]:.1f} %'}", flush=True)
    if not chosen or package in chosen:
        own, data = sorted(str(path) for path in (ROOT / "tests" / package).glob("test_*.py")), folder / package
        modules = [f"{package}/{path.name}" for path in (ROOT / package).glob("*.py")]
        found[package] = percent(modules, [data, *files.values()]) if run_tests(package, own, data) else None
        print(f"{package:<28} {'failed' if found[package] is None else f'{found[package]:.1f} %'}", flush=True)
    return found


def main(chosen: list[str]) -> int:
    known = [*PACKAGES, *(name for package in PACKAGES for name in sub_packages(package))]
    if unknown := [name for name in chosen if name not in known]:
        print(f"no sub-package {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        found = {name: share for package in PACKAGES for name, share in measure(package, chosen, Path(folder)).items()}
    short = [name for name, share in found.items() if share is None or share < LEAST]
    print(f"below {LEAST:g} % or failed: {', '.join(short)}" if short else f"all are covered to {LEAST:g} % or more")
    return bool(short)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
