"""The texts that prompt a model which was not trained by this package."""

from __future__ import annotations

_ONE_STEP = {
    "line": "Write one short step per line.",
    "paragraph": "Write one step per paragraph, with a blank line between them.",
    "sentence": "Write short sentences, each of them one step.",
    "text": "",
}


def system_text(cut: str) -> str:
    """The instruction of a chat, by the kind of its steps (`Sampling.cut`)."""
    return (
        f"Solve the math problem step by step. {_ONE_STEP[cut]}".rstrip()
        + " When you are done, write a last line that holds four number signs and then the answer as a plain number."
    )


CRITIQUE = (
    "Look at the steps so far, whether or not the solution is finished. Is every step correct and useful for answering "
    "the question? Reply with one word, Yes or No."
)
YES = ("Yes", "yes", " Yes", " yes", "YES")
NO = ("No", "no", " No", " no", "NO")
EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Mara buys 3 boxes of 8 pencils and gives 5 pencils to her brother. How many pencils does she keep?",
        "Mara buys 3 * 8 = 24 pencils.\nShe keeps 24 - 5 = 19 pencils.\n#### 19",
    ),
    (
        "A baker sells 40 rolls in the morning and half as many in the afternoon. A roll costs $2. How much money does "
        "he take?",
        "In the afternoon he sells 40 / 2 = 20 rolls.\nIn all he sells 40 + 20 = 60 rolls.\n"
        "He takes 60 * 2 = $120.\n#### 120",
    ),
    (
        "A tank for 90 liters is one third full. A pump adds 6 liters a minute. How many minutes until it is full?",
        "There are 90 / 3 = 30 liters in the tank.\nIt lacks 90 - 30 = 60 liters.\n"
        "The pump needs 60 / 6 = 10 minutes.\n#### 10",
    ),
    (
        "A train covers 240 km in 3 hours and drives 2 more hours at the same speed. How far does it drive in all?",
        "The train drives 240 / 3 = 80 km an hour.\nIn 2 more hours it drives 2 * 80 = 160 km.\n"
        "In all it drives 240 + 160 = 400 km.\n#### 400",
    ),
)
"""Worked examples as (question, solution), written for this package in the style of GSM8K; none is from its splits."""
