"""Evaluation: tasks, runs, statistics, reports, benchmarks, studies and the command line.

- `errors.py`: the errors that are printed as one line.
- `plugins.py`: parts of one's own by `FILE.py:Name`.
- `planners.py`: the planners by name, one list for both worlds and all commands.
- `own_critics.py`: critics of one's own by file.
- `request.py`: `EvalRequest`, the validated flags of `forethought eval`.
- `baselines.py`: model-free baselines of stable-baselines3.
- `cli_common.py`: one-line errors, printing and writing, shared by all commands.
- `threads.py`: a single torch thread while something is measured.

Folders, each of which may import those before it: `tasks` (problems and grades), `records` (the files of a run and
statistics), `report` (tables and pages), `runners` (the loops over problems), `studies` and `bench`, `cli`.
"""
