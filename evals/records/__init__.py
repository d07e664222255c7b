"""What a run records, and statistics of it; rows are dictionaries, and no planner or model is called here.

- `run_store.py`: `RunStore`, the append-only files of a run folder.
- `row_checks.py`: what a row and a tree must be.
- `tree_records.py`: a search tree as plain data for the report's viewer and for later analysis.
- `anytime.py`: results at smaller budgets, read from a larger run.
- `answer_selection.py`: rules that select the answer among a tree's finished solutions.
- `statistics.py`: intervals and tests for paired scores.
- `summary.py`: the content of `summary.json`.
- `pool.py`: `forethought pool`, the pooled analysis of several runs.
"""
