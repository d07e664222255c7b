"""Train the networks that correct known physics, and choose how far they are trusted.

Each member has two parts (`HurdleNet`): the probability that physics fails at all, and the correction, learned from the
steps on which it failed. So no correction is invented where physics is right, as in free flight, and a contact is not
smeared into the flight before it. Where physics is hardly ever exact, as with a wrong mass, members have only the
second part. Out-of-bag estimates: Breiman 1996, "Out-of-bag estimation".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...data.transitions import Transitions
from ...dynamics import Dynamics
from ..ensemble.fit import Bootstraps, EnsembleReport, fit_stacked, train_members
from ..ensemble.net import EnsembleConfig, StackedNet
from ..mlp.fit import DEFAULT_FIT, Fit, fit_termination
from ..mlp.normalization import (
    Pair,
    needed_offset,
    set_normalization,
    target_resolution,
    training_targets,
)
from ..normalized_net import network_inputs
from .gating import GATE_RATIO, shrinkage_factor
from .model import ResidualModel, physics_prediction
from .net import ContactClassifier, HurdleNet

SHRINKAGES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The candidates for `ResidualModel.shrinkage`."""

OPEN_QUANTILE = 0.95
"""The gate is open up to this quantile of the out-of-bag disagreement on the data."""

EXACT_TOLERANCE = 1e-3
"""Physics is exact on a step where its error is at most this, in deviations of the change."""

PHYSICS_ROUNDING = 4.0
"""A difference between measured and computed steps is a rounding error up to this multiple of their resolution."""

MIN_EXACT_SHARE = 0.1
"""Where physics is exact on a smaller share of the steps, members have one part."""


def fit_residual(
    data: Transitions, physics: Dynamics, config: EnsembleConfig, fit: Fit = DEFAULT_FIT
) -> tuple[ResidualModel, EnsembleReport]:
    """Train members on the error of `physics` on `data`, and set the gate by their disagreement out of bag.

    No steps are held out for early stopping: contacts are rare, and a small held-out set may contain none; the gate
    limits overfitting instead. The report is about the residual alone, on the steps where physics failed and which were
    trained on, so that its shares of variance refer to the residual and not to the whole change.
    """
    physical, measured = physics_prediction(physics, data.obs, data.action), training_targets(data)
    errors, resolution = (measured - physical).float(), target_resolution(data)
    strata = residual_strata(errors, measured, resolution)
    net = (HurdleNet if len(strata) > 1 else StackedNet)(config, fit.seed)
    net.offset = needed_offset(data)
    inputs = network_inputs(config, net.centred(data.obs), data.action)
    pair = inputs, errors
    failed = inputs[strata[0]], pair[1][strata[0]]
    report = fit_stacked(net, failed, failed, fit, PHYSICS_ROUNDING * resolution)
    if isinstance(net, HurdleNet):
        fit_classifier(net.classifier, inputs, strata, fit)
    if net.termination is not None:
        fit_termination(net, *data.split(fit.held_out, fit.seed), fit)
    # with the strata in this order, both parts of a member were trained on the same failed steps
    samples = Bootstraps(len(data), config.members, fit.seed, strata).samples
    gate = gate_thresholds(net.eval(), inputs, samples, strata[0])
    return ResidualModel(config, net, physics, gate, shrinkage=select_shrinkage(net, pair, samples)), report


def residual_strata(residual: Tensor, targets: Tensor, resolution: Tensor) -> list[Tensor]:
    """Rows on which physics failed, and rows on which it was exact; all rows as one where either are too few.

    residual: [N, O + 1] error of physics. targets: [N, O + 1], whose deviations are the unit. resolution:
    [O + 1] their rounding errors.
    """
    unit = targets.std(0)
    varies = unit > resolution
    failed = ((residual[:, varies] / unit[varies]).abs() > EXACT_TOLERANCE).any(1)
    if int(failed.sum()) < 2 or float((~failed).float().mean()) < MIN_EXACT_SHARE:
        return [torch.arange(len(residual))]
    return [failed.nonzero()[:, 0], (~failed).nonzero()[:, 0]]


def fit_classifier(classifier: ContactClassifier, inputs: Tensor, strata: Sequence[Tensor], fit: Fit) -> None:
    """Train a classifier to tell the first of two strata of raw inputs [N, I] from the second."""
    labels = torch.zeros(len(inputs), classifier.n_outputs)
    labels[strata[0], -1] = 1.0
    set_normalization(classifier, inputs, labels, torch.zeros(labels.shape[1]))
    classifier.output_mean.zero_()
    classifier.output_std.fill_(1.0)
    pair = (inputs - classifier.input_mean) / classifier.input_std, labels
    train_members(classifier, pair, pair, fit, strata)


@torch.no_grad()
def gate_thresholds(net: StackedNet, inputs: Tensor, samples: Tensor, failed: Tensor) -> tuple[float, float]:
    """The gate (open, shut) from the disagreement about raw inputs [N, I].

    samples: int64 [E, N], the rows that each member was trained on. failed: rows on which physics failed.
    Some members were trained on any given step of the data; about a new step all members disagree as those do that were
    not. Steps out of bag for several members are too few for a quantile, so only the scale is taken from them, as a
    ratio of root mean squares, and the quantile from all steps.
    """
    inside = net.disagreement(net.all_members(inputs)[0])
    rows, _, outside = out_of_bag(net, inputs, samples)
    ratio = outside.square().mean() / inside[rows].square().mean() if len(outside) > 1 else inside.new_ones(())
    inside = ratio.sqrt() * inside
    return float(inside[failed].quantile(OPEN_QUANTILE)), GATE_RATIO * float(inside.max())


@torch.no_grad()
def select_shrinkage(net: StackedNet, pair: Pair, samples: Tensor) -> float:
    """The largest of `SHRINKAGES` whose out-of-bag error is within one standard error of the lowest.

    The one-standard-error rule of Breiman et al. 1984, "Classification and regression trees", section 3.4.3.
    pair: raw inputs [N, I] and corrections [N, O + 1]. samples: int64 [E, N], the rows each member was trained on.
    """
    inputs, targets = pair
    rows, mean, disagreement = out_of_bag(net, inputs, samples)
    if len(disagreement) < 2:
        return SHRINKAGES[-1]
    factors = [shrinkage_factor(disagreement, net.magnitude(mean), shrinkage) for shrinkage in SHRINKAGES]
    errors = torch.stack([net.magnitude(factor[:, None] * mean - targets[rows]).square() for factor in factors])
    excess = errors - errors[errors.mean(1).argmin()]
    within = excess.mean(1) <= excess.std(1) / excess.shape[1] ** 0.5
    return max(shrinkage for shrinkage, fits in zip(SHRINKAGES, within.tolist()) if fits)


def out_of_bag(net: StackedNet, inputs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions about raw inputs [N, I] by the members that were not trained on them.

    Returns the rows [J] that at least two members were not trained on, and of these members the mean correction
    [J, O + 1] and the disagreement [J], scaled to that of all members by the unbiased variance.
    """
    members = len(samples)
    out = torch.ones(samples.shape).scatter(1, samples, 0.0)
    rows = (out.sum(0) >= 2).nonzero()[:, 0]
    out, means = out[:, rows, None], net.all_members(inputs[rows])[0]
    count = out.sum(0)
    mean = (means * out).sum(0) / count
    variance = ((means - mean).square() * out).sum(0) / (count - 1) * (members - 1) / members
    return rows, mean, net.magnitude(variance.sqrt())
