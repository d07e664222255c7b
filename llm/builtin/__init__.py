"""The built-in reasoner: a small Llama trained from scratch on generated word problems ("stories").

Stories and their solutions:
`scenes.py`         the names, verbs and nouns of stories.
`relations.py`      the relations between quantities, their sentences and formulas.
`story_graph.py`    quantities and relations of a story before it is worded.
`stories.py`        `generate`: seeded stories in splits that share no structure.
`checker.py`        the exact checker of solution lines.
`continuations.py`  how a solution continues after any lines, right or wrong.
`corruptions.py`    wrong lines, as negative examples for the critique.

Training:
`tokenizer.py`      the byte-level tokenizer.
`data.py`           `StoryTree`: training examples as token trees, packed into batches.
`exercises.py`      copies of sentences and arithmetic drills as further training examples.
`init.py`           the weights that training begins with.
`net.py`            the network, and its forward pass over token trees.
`muon.py`           the Muon optimizer.
`schedule.py`       `Schedule` and `BatchSampler`: what is trained on at each step.
`train.py`          `ReasonerTraining`: the training loop, its checkpoints and the exported folder.
`sample.py`         batched sampling of solutions, and the critique's values.
`evaluate.py`       the figures of the model's card.

The weights are in `reasoner/`, those of the built-in reward model (`llm/prm/`) in `prm/`.
"""
