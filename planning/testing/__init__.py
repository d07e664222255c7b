"""Conformance checks for models and planners, and problems with known answers to try them on.

check_model.py       whether a model keeps its contract
check_search.py      whether a planner's searches keep theirs
problems.py          tables of states, and a target in a box
linear_quadratic.py  linear dynamics with quadratic rewards, whose best plan is known exactly
"""
