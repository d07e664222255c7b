"""Risk measures: how the returns of a candidate over particles, ensemble members or disturbances become one score.

Risk is measured on the return of the whole trajectory, after the sum over time: a member that predicts low rewards
early and late is one bad outcome, not two bad steps of an average outcome.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ..settings_checks import check_setting, is_number

Risk = Literal["mean", "worst"] | tuple[Literal["cvar"], float]
"""The mean, the worst, or ("cvar", alpha): the conditional value at risk, the mean of the worst fraction alpha."""


def at_risk(returns: Tensor, risk: Risk) -> Tensor:
    """Scores [M, K] of returns [M, K, P]; minus infinity where a return is not finite."""
    returns = nan_to_neg_inf(returns)
    if returns.shape[-1] == 1:
        return returns[..., 0]
    if risk == "mean":
        return returns.mean(-1)
    if risk == "worst":
        return returns.amin(-1)
    return tail_mean(returns, float(risk[1]))


def nan_to_neg_inf(returns: Tensor) -> Tensor:
    """Returns of any shape, with minus infinity in place of NaN and of both infinities."""
    return torch.nan_to_num(returns, -torch.inf, -torch.inf, -torch.inf)


def tail_mean(returns: Tensor, alpha: float) -> Tensor:
    """The mean [...] of the worst fraction alpha of returns [..., P], each of which has probability 1 / P.

    Where alpha P is not an integer, the last return of the tail is weighted by the remaining fraction. This is the
    conditional value at risk of the discrete distribution (Acerbi and Tasche 2002, "On the coherence of expected
    shortfall", definition 2.6; Rockafellar and Uryasev 2002, proposition 8), which is continuous in alpha.
    """
    count = alpha * returns.shape[-1]
    whole = min(math.floor(count + 1e-9), returns.shape[-1])
    low = returns.sort(-1).values
    total = low[..., :whole].sum(-1)
    if count - whole > 1e-9:
        total = total + (count - whole) * low[..., whole]
    return total / max(count, whole)


def check_risk(risk: object) -> None:
    """Errors: ValueError for anything that is not a `Risk`."""
    named = isinstance(risk, str) and risk in ("mean", "worst")
    cvar = isinstance(risk, tuple) and len(risk) == 2 and risk[0] == "cvar" and is_number(risk[1]) and 0 < risk[1] <= 1
    check_setting(named or cvar, "risk", "mean, worst or ('cvar', 0 < alpha <= 1)", risk)
