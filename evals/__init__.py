"""Evaluation: tasks, runs, statistics, reports, benchmarks, studies and the command line.

- `planners.py`: the planners over text by name, one list for all commands.
- `request.py`: `EvalRequest`, the validated flags of `forethought eval`.
- `baselines.py`: model-free baselines of stable-baselines3.
- `console.py`: printing without markup, tables that fit the console, JSON.
- `progress.py`: progress of long work with the remaining time.
- `cli_common.py`: one-line errors, `--json` and writing, shared by all commands.
- `threads.py`: a single torch thread while something is measured.

Folders, each of which may import those before it: `tasks` (problems and grades), `records` (the files of a run and
statistics), `report` (tables and pages), `runners` (the loops over problems), `studies` and `bench`, `cli`.
"""
