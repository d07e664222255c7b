"""Benchmarks of speed and of plan quality.

- `search.py`: `forethought bench search`, the cost of a tree search without a model.
- `mpc.py`, `mpc_peers.py`: `forethought bench mpc`, decisions in learned models, also by other libraries.
- `certificates.py`, `known_optima.py`: `forethought bench certificates`, optimality gaps, and the problems.
- `engine.py`: `forethought bench engine`, a tree search beside its own requests and independent sampling on one text
  engine, made of `engine_workloads.py` (what is run and recorded) and `engine_shapes.py` (models of given sizes with
  random weights).
"""
