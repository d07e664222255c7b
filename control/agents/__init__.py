"""Agents: settings with a method `train` that learns a model from an environment.

pets.py: `PETS`, planning with an ensemble that is trained on what planning did.
checkpoint.py: the state of a training in rounds, saved after each.
log.py: figures of a training as CSV and for TensorBoard.
"""
