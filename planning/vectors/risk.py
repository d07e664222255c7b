"""What a candidate's returns over particles, ensemble members or disturbances count for.

Risk is of the whole trajectory's return: it is reduced after the sum over time, so that a member that is bad early and
late counts as one bad world and not as two bad steps of an average one.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

Risk = Literal["mean", "worst"] | tuple[Literal["cvar"], float]
"""The mean, the worst, or ("cvar", alpha): the conditional value at risk, the mean of the worst share alpha."""


def at_risk(returns: Tensor, risk: Risk) -> Tensor:
    """[M, K, P] returns to what they count for, [M, K]; minus infinity where one is not finite."""
    returns = finite_or_lost(returns)
    if returns.shape[-1] == 1:
        return returns[..., 0]
    if risk == "mean":
        return returns.mean(-1)
    if risk == "worst":
        return returns.amin(-1)
    return tail_mean(returns, float(risk[1]))


def finite_or_lost(returns: Tensor) -> Tensor:
    """Returns of any shape, minus infinity where they are not finite."""
    return torch.nan_to_num(returns, -torch.inf, -torch.inf, -torch.inf)


def tail_mean(returns: Tensor, alpha: float) -> Tensor:
    """The mean of the worst share alpha of returns [..., P], each of which has probability 1 / P.

    Where alpha P is no whole number the last of the tail counts for the rest of it, so that this is the conditional
    value at risk of the discrete distribution (Acerbi and Tasche 2002, "On the coherence of expected shortfall",
    definition 2.6; Rockafellar and Uryasev 2002, proposition 8) and changes continuously with alpha.
    """
    share = alpha * returns.shape[-1]
    whole = min(math.floor(share + 1e-9), returns.shape[-1])
    low = returns.sort(-1).values
    total = low[..., :whole].sum(-1)
    if share - whole > 1e-9:
        total = total + (share - whole) * low[..., whole]
    return total / max(share, whole)


def check_risk(risk: Any) -> None:
    """Errors: ValueError for what is no `Risk`."""
    cvar = isinstance(risk, tuple) and len(risk) == 2 and risk[0] == "cvar" and 0 < risk[1] <= 1
    want(cvar or risk in ("mean", "worst"), "risk", "mean, worst or ('cvar', 0 < alpha <= 1)", risk)


def want(holds: bool, name: str, allowed: str, given: object) -> None:
    """Errors: ValueError naming a setting that does not hold, what is allowed and what was given."""
    if not holds:
        raise ValueError(f"{name} is {allowed}, got {given!r}")
