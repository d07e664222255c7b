"""The returns of whole action sequences through one perceptron, without derivatives, for `Vectorised` models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...planning.wrappers.terminal_value import ValueFn
from ..nets.fused import FusedMLP
from .episode_rules import EpisodeRules
from .normalized_net import action_bounds

NoiseFn = Callable[[int, Tensor], Tensor]
"""(step t from 0, input of the last layer [hidden + 1, N]) to the noise [O, N] that is added to observations."""


@torch.no_grad()
def fused_returns(
    rules: EpisodeRules,
    net: FusedMLP,
    obs: Tensor,
    actions: Tensor,
    value: ValueFn | None,
    noise: NoiseFn | None = None,
) -> Tensor:
    """Returns [N] of actions [H, N, D] from observations [N, O], the value of the last observation included.

    Steps are taken in float32 on observations minus the network's offset, where it has one.
    net: a single member. rules: those of a model that `supports_fused_rollout`.
    """
    obs = rules.net.centred(obs)
    inputs = net.input_buffer(obs)
    outputs = net.padded_inputs[: obs.shape[1] + 1]
    outputs[0], outputs[1:] = 0.0, obs.mT
    discount = _take_steps(rules, net, outputs, inputs, actions, noise)
    returns = outputs[0].clone()
    if value is not None:
        returns.add_(value(_observations(rules, outputs[1:].mT.clone())), alpha=discount)
    return returns


def _observations(rules: EpisodeRules, centred: Tensor) -> Tensor:
    """[N, O] observations minus the offset as observations."""
    return centred if rules.net.offset is None else centred + rules.net.offset


def _take_steps(
    rules: EpisodeRules, net: FusedMLP, outputs: Tensor, inputs: Tensor, actions: Tensor, noise: NoiseFn | None
) -> float:
    """Take all steps in place and return the discount of what comes after them.

    outputs: [1 + O, N] running returns and observations; the observations share memory with `inputs` [I + 1, N]. The
    product of the last layer accumulates into them; discounting scales the layer's row of reward weights.
    """
    learned, gamma, discount = rules.learned_reward, rules.gamma, 1.0
    returns, obs, action_rows = outputs[0], outputs[1:], as_array(inputs[len(outputs) - 1 : -1])
    last_layer = net.mean_weights if learned and gamma == 1 else net.mean_weights.clone()
    if not learned:
        last_layer[0] = 0
    for t, clipped in enumerate(_clipped(rules, actions)):
        previous = obs if learned else obs.clone()
        action_rows[:] = clipped
        hidden = net.last_hidden(inputs)
        if hidden is inputs:  # without a hidden layer the product below would overwrite its own input
            hidden = inputs.clone()
        added = None if noise is None else noise(t, hidden)
        outputs.addmm_(last_layer, hidden)
        if added is not None:
            obs.add_(added)
        if not learned:
            before, after = _observations(rules, previous.mT), _observations(rules, obs.mT)
            returns.add_(rules.reward(before, actions[t], after, returns), alpha=discount)
        if gamma != 1:
            last_layer[0] *= gamma
            discount *= gamma
    return discount


def _clipped(rules: EpisodeRules, actions: Tensor) -> Any:
    """Actions [H, N, D] clipped to the bounds, as [H, D, N]; a numpy array on a CPU."""
    low, high = action_bounds(rules.config.low, rules.config.high, actions.dtype, actions.device)
    return as_array(torch.minimum(torch.maximum(actions, low), high).mT)


def as_array(x: Tensor) -> Any:
    """On a CPU the tensor as a numpy array: numpy copies one row into another in a fifth of torch's time."""
    return x.numpy() if x.device.type == "cpu" else x
