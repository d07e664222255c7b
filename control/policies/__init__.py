"""Policies: they map observations to actions.

base.py: the interface `Policy`, and `FunctionPolicy` for a function without state.
random.py: `RandomPolicy`, uniformly random actions.
mpc.py: `MPCPolicy`, model predictive control with any planner and model.
"""
