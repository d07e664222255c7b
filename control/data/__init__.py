"""Experience from environments.

transitions.py: `Transitions`, steps of environments as tensors.
collector.py: `collect`, which steps an environment under a policy and returns its transitions.
"""
