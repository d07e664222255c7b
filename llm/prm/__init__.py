"""Process reward models: a copy of a policy is trained to judge the policy's own solution lines.

`problems.py`           `PolicyProblem`: questions to train on, with their grading and their step checker.
`samplers.py`           `PolicySampler`: solutions that the policy writes.
`labels.py`             labels of lines: exact, or estimated by completions.
`arithmetic_drills.py`  arithmetic formulas and lines with wrong results, as further examples.
`examples.py`           `LabelledTree`: labelled solutions of one question, and the logits at the labels.
`batches.py`            `Schedule` and `BatchSampler`: what is trained on at each step.
`train.py`              `RewardTraining`: the training loop and its checkpoints.
`evaluate.py`           `RewardScorer` and the figures of the model's card.
`pipeline.py`           from a policy's folder to a reward model's folder with its card.
"""
