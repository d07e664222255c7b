"""A task and a critic of one's own: the built-in model solves stories of two steps, judged by their length."""

from forethought.evals import Problem, TextTask, evaluate, grade_numeric
from forethought.llm import Judgement


class Gifts(TextTask):
    """Six stories with known answers."""

    def problems(self, limit=None, seed=0):
        story = "Amy fills 5 packs of {n}. Amy giving {n} away matches Mia. How many cookies did Mia bake?"
        return [Problem(str(n), story.format(n=n), str(4 * n)) for n in range(2, 8)][:limit]

    def grade(self, problem, text):
        return grade_numeric(text, problem.answer)  # the number in which a solution ends


class Brevity:
    """Shorter solutions are better."""

    name, low, high = "brevity", 0.0, 1.0

    async def score(self, cached, format, state):
        return Judgement(1 / (1 + len(state.solution)))


if __name__ == "__main__":
    for value in ("self", Brevity()):
        out = f"runs/gifts-{getattr(value, 'name', value)}"
        summary = evaluate(Gifts(), "builtin", planners=["best_of_n"], budgets=[16], value=value, out=out)
        row = summary["rows"][0]
        print(f"best-of-N by {getattr(value, 'name', value)} solves {row['score']:.2f} of {row['n']} stories")
