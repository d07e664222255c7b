"""Answer one question by a tree search and look at what the search did."""

from forethought.evals import solve

QUESTION = "Amy fills 5 packs of 2. Amy giving 6 away matches Mia. How many cookies did Mia bake?"

solution = solve(QUESTION, model="builtin", planner="mcts", budget=24)

print(QUESTION)
print(solution.text)
print(f"answer: {solution.answer}, with the critic's value {solution.value:.2f}")

charged = solution.cost["charged"]
print(f"cost: {charged['nodes']:.0f} nodes, {charged['generated_tokens']:.0f} generated tokens")
