"""Planning over text: inference engines, a tape of their answers, critics, and the text model that planners search.

Imports go one way; each line may import those above it, and `planning` besides:

- `engines/`: inference engines. They know token ids only, and are therefore the lowest layer.
- `text/`: states, steps, formats and answers; uses the engines' messages and `engines/step_splitter.py`.
- `tape/`: record and replay of generations; puts `CachedEngine` in front of an `Engine`.
- `critics/`: values of partial and finished solutions; they ask through a `CachedEngine`.
- `step_result.py`: the answer for one edge with its usage. `concurrency.py`: concurrent calls that fail together.
- `text_model.py`: `TextModel`, which implements `planning.AsyncModel`.
- `reasoning/`: other thought generators, subclasses of `TextModel`.
- `checkpoint.py`: checkpoints of the trainings of `builtin/` and `prm/`.
- `load.py`: from names to a `TextModel`; the table of engines.
- `importing/`: trees of other programs as a tape.
- `builtin/`: the built-in model, its stories and its training; it imports none of the above.
- `prm/`: training of process reward models, also on the stories of `builtin/`.

The public names are listed in `__init__.pyi`; the module that defines one is loaded when it is first used, so that no
engine is imported before it is needed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
