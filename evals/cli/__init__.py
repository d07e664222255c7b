"""The command line; modules with heavy imports are loaded by the command that needs them.

- `main.py`: the command `forethought` with `import`, `pool`, `train` and `bench` for text, `doctor`, `demo`.
- `eval.py`: `forethought eval` and `solve`. `options.py`: options made from the fields of `EvalSettings`.
- `control.py`: the commands for control: training, benchmarks and studies.
- `panels.py`: the panels of `--help`, the order of the commands, and their examples.
- `usage.py`: usage errors as one line.
- `completion.py`: names for shell completion, without heavy imports.
- `listing.py`: `forethought list`.
- `train_text.py`: `forethought train reasoner` and `train prm`.
- `train_control.py`: `forethought train mlp`, `ensemble`, `pets` and `residual`.
- `import_log.py`: `forethought import`.
- `demo.py`: `forethought demo`.
- `doctor.py`: `forethought doctor`.
"""
