"""Models that wrap another model and change one thing of it; nothing here searches.

base.py                 `ModelWrapper`, the base class, and what environments are given for actions of a wrapped model
action_repeat.py        `ActionRepeat`: every action is repeated for several steps
discretized_actions.py  `DiscretizedActions`: the vectors of a box as a finite set of actions
elite_actions.py        `EliteActions`: the elite sequences of one search as the actions of a tree search
terminal_value.py       `TerminalValue`: another value function
lambda_return.py        `LambdaReturn`: returns that use the value of every state of a plan
rollout_value.py        `RolloutValue`: values by following a policy
disturbance.py          `NoisyActions`: noise on actions, as particles
constraints.py          `Penalised` and `Masked`: a constraint as a penalty, or as a mask on actions
"""
