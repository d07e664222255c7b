"""Evaluation: tasks, runs, statistics, reports, benchmarks, studies and the command line.

- `errors.py`: the errors that are printed as one line.
- `plugins.py`: parts of one's own by `FILE.py:Name`.
- `planners.py`: the planners by name, one list for both worlds and all commands.
- `own_critics.py`: critics of one's own by file.
- `api.py`: `evaluate` and `solve`.
- `baselines.py`: model-free baselines of stable-baselines3.
- `console.py`: printing without markup, tables that fit the console, JSON.
- `progress.py`: progress of long work with the remaining time.
- `cli_common.py`: one-line errors, `--json` and writing, shared by all commands.
- `threads.py`: a single torch thread while something is measured.

Folders, each of which may import those before it: `tasks` (problems and grades), `settings` (all settings of an
evaluation and what they name), `records` (the files of a run and
statistics), `report` (tables and pages), `runners` (the loops over problems), `studies` and `bench`, `cli`.

The public names are listed in `__init__.pyi`; the module that defines one is loaded when it is first used, so that the
command line starts quickly.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
