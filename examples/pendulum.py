"""Swing a pendulum up by model predictive control, with the equations of motion and with a network that learned them.

Each step the planner plans 20 steps ahead, the first torque is taken, and the planner plans anew.
"""

from forethought.control import PENDULUM, Fit, collect, config_for, fit_mlp, random_episodes, run_episodes
from forethought.planning import CEM, MPPI, GaussianSettings

SEEDS = [0, 1]
PLANNERS = {
    "CEM": CEM(horizon=20, smoothing=0.1, vectors=GaussianSettings(std=1.0)),
    "MPPI": MPPI(horizon=20, temperature=0.5, scale="absolute", vectors=GaussianSettings(std=0.75, adapt_std=False)),
}

steps = collect(PENDULUM.env_id, 600, seed=0)
network, report = fit_mlp(steps, config_for(PENDULUM.env_id), Fit(epochs=30))
print(f"the network leaves {report.held_out:.1%} of the variance of held-out steps unexplained")
print(f"random torques: mean return {random_episodes(PENDULUM, SEEDS).mean():.0f}")

for model_name, model in {"equations": PENDULUM.analytic(), "network": network}.items():
    for planner_name, planner in PLANNERS.items():
        episodes = run_episodes(planner, model, PENDULUM, SEEDS, nodes_per_decision=400)
        print(f"{planner_name} with the {model_name}: mean return {episodes.returns.mean():.0f}")
