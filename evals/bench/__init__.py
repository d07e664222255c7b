"""Benchmarks of speed and of plan quality.

- `search.py`: `forethought bench search`, the cost of a tree search without a model.
- `mpc.py`, `mpc_peers.py`: `forethought bench mpc`, decisions in learned models, also by other libraries.
- `certificates.py`, `known_optima.py`: `forethought bench certificates`, optimality gaps, and the problems.
- `engine.py`: `forethought bench engine`, tree search against independent sampling on one text engine, made of
  `engine_harness.py` (the measured engine and its clocks), `engine_calls.py` (recorded requests, sent again),
  `engine_workloads.py` (the workloads that are compared), `engine_interleaved.py` (search and requests in alternation
  on two engines), `engine_overhead.py` (Python time of a search, and what a tape saves a second planner) and
  `engine_shapes.py` (models of given sizes with random weights).
"""
