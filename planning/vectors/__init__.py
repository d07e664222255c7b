"""What all searches over sequences of action vectors share.

`base.py` holds the common base class of these searches, `warm_start.py` begins one with an earlier plan, `risk.py`
reduces the returns of particles to one score, `queries.py` holds the queries for trajectories, gradients and
linearizations, and `jacobians.py` computes the derivatives of one step of a model. `sampling/` and `trajopt/` build on
this folder; it imports neither.
"""
