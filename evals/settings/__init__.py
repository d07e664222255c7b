"""The settings of an evaluation.

- `eval_settings.py`: `EvalSettings`, all settings, from which the options of the command line are made.
- `parts.py`: the objects that the settings name. `checks.py`: checks of the settings that need no model.
- `values.py`: reading of lists of names and of budgets.
"""

from .eval_settings import CONTROL, MODEL, PLANNING, RUN, TASK, VALUES, EvalSettings, option

__all__ = ["CONTROL", "MODEL", "PLANNING", "RUN", "TASK", "VALUES", "EvalSettings", "option"]
