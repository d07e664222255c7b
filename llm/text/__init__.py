"""Text as states, steps, prompts and answers; nothing here knows engines' inner parts, tapes, critics or planners.

`state.py`     `TextState`: a question and the steps written so far.
`steps.py`     `Step`: one step of a continuation; how a generation is split into steps; names of noise streams.
`prompts.py`   the texts that prompt a model which was not trained by this package.
`encoding.py`  texts to token ids.
`formats.py`   `Format`: how one model is prompted and asked for a verdict, read from its `forethought.json`.
`markers.py`   where a solution gives its answer: `####`, `\\boxed{}`, "the answer is".
`numbers.py`   numbers in running text, after answer markers and as gold answers.
`answers.py`   the answer that a solution gives, and whether it equals the gold answer.
"""
