"""Searches over trees: MCTS, beam search, REBASE, and sampled paths (best-of-N, CEM and MPPI over indexed actions).

`nodes.py` describes the memory of a tree and `leaves.py` how its leaves are opened and evaluated; `tree.py` and
`reading.py` read it, and `base.py` is what all searches share. MCTS is `mcts.py` with its kernels in `mcts_kernels.py`
and `selection.py`, called through `kernel_call.py`. `beam.py` with `beam_kernels.py`, and `rebase.py` with
`rebase_kernels.py`, search layer by layer on the common base `layers.py`. `paths.py` with `paths_kernels.py` samples
paths from the distribution in `categorical.py`.
"""
