"""Running what settings ask for and is not on disk yet.

- `evaluate.py`: `run_evaluation`, which calls the runner for the kind of task.
- `grid.py`: `JobGrid`, the planners, budgets and problems of a run, and the loop over what is missing.
- `text_runner.py`: runs of tasks over text.
- `text_solver.py`: one planner at one budget on one question.
- `control_runner.py`: runs of control tasks, whole episodes each.
- `results.py`: `Summary`, and writing of `summary.json` and `report.html`.
"""
