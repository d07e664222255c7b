"""Known equations corrected by an ensemble (residual learning).

net.py: `HurdleNet`, an ensemble that also predicts whether there is anything to correct.
model.py: `ResidualModel`, equations plus gate times correction as a `Model`.
fit.py: `fit_residual`, which trains the correction and chooses gate and shrinkage from out-of-bag predictions.
gating.py: the formulas of the gate and of the shrinkage.
"""
