"""Compare planners of the built-in language model on word problems, at an equal budget."""

from forethought.evals import evaluate

summary = evaluate(
    "stories",
    "builtin",
    planners=["greedy", "self_consistency", "best_of_n", "bfs"],
    budgets=[16],
    limit=8,
    out="runs/compare-planners",
)

for row in summary["rows"]:
    interval = f"[{row['low']:.2f}, {row['high']:.2f}]"
    tokens = row["charged"]["generated_tokens"]
    print(f"{row['planner']:17} solves {row['score']:.2f} {interval} with {tokens:.0f} generated tokens a story")

print(f"Open {summary.report} for curves, paired tests and every tree.")
