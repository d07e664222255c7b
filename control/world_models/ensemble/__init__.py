"""Ensembles of networks as world models with uncertainty.

net.py: `EnsembleConfig`, and `StackedNet`, all members as one network with stacked weights.
model.py: `EnsembleModel`, a trained ensemble as a `Model` with particles (PETS).
fit.py: `fit_ensemble`, which trains every member on its own bootstrap.
disagreement_penalty.py: `DisagreementPenalty`, rewards lowered where the members disagree (MOPO).
"""
