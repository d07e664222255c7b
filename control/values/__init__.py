"""Value functions of physical states, computed once from the dynamics and used as terminal values of a search.

A tree compares leaves of unequal depth. With Pendulum's negative rewards a terminal value of 0 makes the shallowest
leaf look best; with CartPole's constant rewards all states within the bounds look alike. A value function corrects
both.

grid.py: `RegularGrid`, multilinear interpolation on a regular grid.
grid_value.py: `GridValue`, value iteration on such a grid.
lqr_value.py: `BalanceValue`, CartPole's value from an LQR cost-to-go.
"""
