"""Searches that sample action vectors from a Gaussian and refit it.

`gaussian.py` holds the Gaussian over sequences and its search, `weights.py` the weights of candidates, the refit and
the other arithmetic between two rollouts, compiled where numba is installed. The planners are in `shooting.py`.
"""
