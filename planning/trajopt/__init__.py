"""Trajectory optimisation through a model's derivatives, and the linear-quadratic regulator.

`ilqr.py` holds iLQR and DDP, `backward.py` their backward pass, `boxqp.py` the quadratic programs within a box that it
solves; `gradient.py` holds gradient shooting with Adam or L-BFGS, `lbfgs.py` L-BFGS within a box; `lqr.py` solves
Riccati's equation, with whose solution the plans of all planners are compared.
"""
