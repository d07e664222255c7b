"""A multilayer perceptron as a deterministic world model.

net.py: `MLPNet`, the network.
model.py: `MLPModel`, a trained network as a `Model`.
normalization.py: inputs and targets with mean 0 and deviation 1, and the offset of observations far from 0.
fit.py: `fit_mlp`, which trains one, and the training settings and steps that the other families use too.
"""
