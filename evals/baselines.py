"""`forethought train baseline`: SAC, PPO and DQN of stable-baselines3, with the same log as PETS.

Settings are those of rl-baselines3-zoo for the two environments of the studies and the library's defaults elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console

from ..control.agents.log import Row, tensorboard, write_csv
from .cli_common import check_output
from .console import say
from .errors import BadInput
from .progress import StepWatch, step_progress
from .tasks.environments import environment_id

NEED = "baselines need stable-baselines3: pip install 'forethought[baselines]'"
TUNED: dict[tuple[str, str], dict[str, Any]] = {
    ("sac", "Pendulum-v1"): {"learning_rate": 1e-3},
    ("ppo", "Pendulum-v1"): {
        "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10, "learning_rate": 1e-3, "use_sde": True,
        "sde_sample_freq": 4, "clip_range": 0.2,
    },
    ("ppo", "CartPole-v1"): {
        "n_steps": 256, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "learning_rate": 1e-3,
    },
    ("dqn", "CartPole-v1"): {
        "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1000, "gamma": 0.99,
        "target_update_interval": 10, "train_freq": 256, "gradient_steps": 128, "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04, "policy_kwargs": {"net_arch": [256, 256]},
    },
}  # fmt: skip
"""From rl-baselines3-zoo, hyperparams/{sac,ppo,dqn}.yml, for one environment each."""


Probe = Callable[[int, Callable[[np.ndarray], Any]], None]
"""Called with the number of environment steps so far and the current policy without exploration."""


def train(
    algorithm: str, env: str, steps: int, *, seed: int = 0, every: int | None = None, probe: Probe | None = None,
    watch: StepWatch | None = None,
) -> list[Row]:  # fmt: skip
    """Train for `steps` environment steps; one row per finished episode: round, steps, episode_return, episode_length.

    probe: called after each `every` steps. watch: called after each step.
    Errors: BadInput where stable-baselines3 is missing, has no such algorithm, or the algorithm does not fit `env`.
    """
    try:
        import stable_baselines3 as library
        from stable_baselines3.common.callbacks import BaseCallback
        from stable_baselines3.common.monitor import Monitor
    except ImportError:
        raise BadInput(NEED) from None
    kind = {"sac": library.SAC, "ppo": library.PPO, "dqn": library.DQN}.get(algorithm)
    if kind is None:
        raise BadInput(f"no baseline {algorithm!r}; there are sac, ppo, dqn")
    rows: list[Row] = []

    class Episodes(BaseCallback):  # type: ignore[misc]
        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    rows.append(row_of(len(rows) + 1, self.num_timesteps, info["episode"]))
            if probe is not None and every and self.num_timesteps % every == 0:
                probe(self.num_timesteps, lambda obs: self.model.predict(obs, deterministic=True)[0])
            if watch is not None:
                watch(self.num_timesteps, steps)
            return self.num_timesteps < steps

    try:
        monitored = Monitor(gymnasium.make(env))
        kind("MlpPolicy", monitored, seed=seed, **TUNED.get((algorithm, env), {})).learn(steps, Episodes())
    except (AssertionError, gymnasium.error.Error) as error:
        raise BadInput(f"{algorithm} does not fit {env}: {' '.join(str(error).split())}") from error
    return rows


def row_of(number: int, steps: int, episode: dict[str, float]) -> Row:
    """The row of a finished episode, from the record of stable-baselines3's `Monitor`."""
    return {"round": number, "steps": steps, "episode_return": float(episode["r"]), "episode_length": episode["l"]}


def main(
    algorithm: str, env: str, steps: int, out: Path, *, seed: int = 0, console: Console | None = None
) -> list[Row]:
    """Train, write `progress.csv` (and TensorBoard events if it is installed), and print the last mean return."""
    console = console or Console()
    check_output(out)
    env = environment_id(env)
    with step_progress(f"train {algorithm}", console) as watch:
        rows = train(algorithm, env, steps, seed=seed, watch=watch)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "progress.csv", rows)
    board = tensorboard(out)
    for row in rows:
        board(row)
    last = [row["episode_return"] for row in rows[-10:]]
    result = f"mean return {sum(last) / len(last):.1f} over the last {len(last)}" if last else "none of them finished"
    say(console, f"{algorithm}, {steps:,} steps of {env}, {len(rows)} episodes: {result}; written to {out}")
    return rows
