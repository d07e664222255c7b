"""Train the networks that correct known physics, and set how far they are trusted; see `residual.py`.

Each member is of two parts (`hurdle.py`): whether physics fails at all, a probability, and by how much, learned from
the steps where it failed. So nothing is made up where physics is right, as in free flight, and a contact is not blurred
into the flight before it. Where physics is hardly ever right to rounding, as with a wrong mass, the second part is all
there is. Out of bag: Breiman 1996, "Out-of-bag estimation".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...data.transitions import Transitions
from ...dynamics import Dynamics
from ..ensemble.fit import Bootstraps, EnsembleReport, descend_each, fit_stacked
from ..ensemble.net import EnsembleConfig, StackedNet
from ..mlp.fit import USUAL, Fit, fit_end, set_scales, targets_of
from ..network import inputs_of
from .model import REACH, ResidualModel, left, predicted
from .net import HurdleNet, Judge

DOUBTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How many times the disagreement may be taken from the length of a correction."""

ON_DATA = 0.95
"""The gate is open up to this quantile of the disagreement on the data out of bag."""

EXACT, OFTEN = 1e-3, 0.1
"""Physics explains a step that it misses by no more than the first, in deviations of the change; where it explains less
than the second, a share of all steps, members have one part."""


def fit_residual(
    data: Transitions, physics: Dynamics, config: EnsembleConfig, fit: Fit = USUAL
) -> tuple[ResidualModel, EnsembleReport]:
    """Train members on what `physics` leaves of `data`, and set the gate by their disagreement out of bag.

    No step is held out to stop at: a contact is rare, and a tenth of a little data would decide by the one it has or
    has not; what the members make too much of is left to the gate. The report speaks of the residual alone, on the
    steps that physics missed and that were learned from: its shares of variance are of that, not of the whole change.
    """
    inputs = inputs_of(config, data.seen, data.actions)
    pair = inputs, targets_of(data) - predicted(physics, data.seen, data.actions)
    strata = strata_of(pair[1], targets_of(data))
    net = (HurdleNet if len(strata) > 1 else StackedNet)(config, fit.seed)
    wrong = inputs[strata[0]], pair[1][strata[0]]
    report = fit_stacked(net, wrong, wrong, fit)
    if isinstance(net, HurdleNet):
        fit_judge(net.judge, inputs, strata, fit)
    if net.end is not None:
        fit_end(net, *data.split(fit.held_out, fit.seed), fit)
    # the strata are drawn from in this order, so that both parts of a member learned from the same wrong steps
    own = Bootstraps(len(data), config.members, fit.seed, strata).own
    gate, doubt = gate_of(net.eval(), inputs, own, strata[0]), doubt_of(net, pair, own)
    return ResidualModel(config, net, physics, gate, doubt=doubt), report


def strata_of(missed: Tensor, changed: Tensor) -> list[Tensor]:
    """Rows where what physics missed [N, O + 1] is more than rounding, and the others; all in one where either are too
    few. changed: [N, O + 1] targets, whose deviations are the unit."""
    unit = changed.std(0)
    varies = unit > 1e-6
    wrong = ((missed[:, varies] / unit[varies]).abs() > EXACT).any(1)
    if int(wrong.sum()) < 2 or float((~wrong).float().mean()) < OFTEN:
        return [torch.arange(len(missed))]
    return [wrong.nonzero()[:, 0], (~wrong).nonzero()[:, 0]]


def fit_judge(judge: Judge, inputs: Tensor, strata: Sequence[Tensor], fit: Fit) -> None:
    """Train a judge to tell the first of two strata of raw inputs [N, I] from the second."""
    said = torch.zeros(len(inputs), judge.outputs)
    said[strata[0], -1] = 1.0
    set_scales(judge, inputs, said)
    judge.output_mean.zero_()
    judge.output_std.fill_(1.0)
    pair = (inputs - judge.input_mean) / judge.input_std, said
    descend_each(judge, pair, pair, fit, strata)


@torch.no_grad()
def gate_of(net: StackedNet, inputs: Tensor, own: Tensor, wrong: Tensor) -> tuple[float, float]:
    """(open, shut) by the disagreement about raw inputs [N, I], those at the rows `wrong`. own: as in `doubt_of`.

    Of every step some members have learned; about a fresh one all disagree as those do that have not. These are too few
    to take a quantile of, so theirs is the scale alone, by root mean squares, and the quantile is that of all.
    """
    inside = net.disagreement(net.every(inputs)[0])
    judged, _, outside = out_of_bag(net, inputs, own)
    grown = outside.square().mean() / inside[judged].square().mean() if len(outside) > 1 else inside.new_ones(())
    inside = grown.sqrt() * inside
    return float(inside[wrong].quantile(ON_DATA)), REACH * float(inside.max())


@torch.no_grad()
def doubt_of(net: StackedNet, pair: tuple[Tensor, Tensor], own: Tensor) -> float:
    """The largest of `DOUBTS` whose error out of bag is within a standard error of the least error (Breiman et al.
    1984, "Classification and regression trees", section 3.4.3). pair: raw inputs [N, I] and corrections [N, O + 1].
    own: int64 [E, N], the steps that each member learned from."""
    inputs, targets = pair
    judged, mean, apart = out_of_bag(net, inputs, own)
    if len(apart) < 2:
        return DOUBTS[-1]
    trusts = [left(apart, net.size_of(mean), doubt) for doubt in DOUBTS]
    errors = torch.stack([net.size_of(trust[:, None] * mean - targets[judged]).square() for trust in trusts])
    worse = errors - errors[errors.mean(1).argmin()]
    near = worse.mean(1) <= worse.std(1) / worse.shape[1] ** 0.5
    return max(doubt for doubt, fits in zip(DOUBTS, near.tolist()) if fits)


def out_of_bag(net: StackedNet, inputs: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [J] of raw inputs [N, I] that at least two members have not learned, and of these members the mean
    correction [J, O + 1] and the disagreement [J], as it would be of all members: from the unbiased variance."""
    members = len(own)
    out = torch.ones(own.shape).scatter(1, own, 0.0)
    judged = (out.sum(0) >= 2).nonzero()[:, 0]
    out, means = out[:, judged, None], net.every(inputs[judged])[0]
    count = out.sum(0)
    mean = (means * out).sum(0) / count
    variance = ((means - mean).square() * out).sum(0) / (count - 1) * (members - 1) / members
    return judged, mean, net.size_of(variance.sqrt())
