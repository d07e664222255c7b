"""A model of one's own under every planner: a cart on a line is to stop at 0, pushed by a force in [-1, 1]."""

import torch

import forethought.planning as fp


class Cart:
    """States [K, 2] hold position and velocity; one step lasts 0.2 s."""

    actions, cost = fp.BoxActions(torch.tensor([-1.0]), torch.tensor([1.0])), 1

    def start(self, problems):
        x = torch.as_tensor(problems, dtype=torch.float32)
        return x, fp.Expansion(torch.zeros(len(x)), torch.ones(len(x)), self.value(x))

    def expand(self, x, actions, *, to_end=False, evaluate="all"):
        velocity = x[:, 1] + 0.2 * actions[:, 0]
        y = torch.stack((x[:, 0] + 0.2 * velocity, velocity), -1)
        return y, fp.Expansion(-y.square().sum(-1), torch.ones(len(y)), self.value(y))

    def value(self, x):
        return -5 * x.square().sum(-1)


problems, tree_model = [[1.0, 0.0], [-2.0, 0.5]], fp.DiscretizedActions(Cart(), 3)
fp.check_model(Cart(), problems, gradients=True)

sequences = [fp.BestOfN, fp.CEM, fp.ICEM, fp.MPPI, fp.ILQR, fp.DDP, fp.GradientShooting]
planners = [(planner(horizon=10), Cart()) for planner in sequences]
planners += [(fp.WarmStarted(fp.CEM(horizon=10), fp.ILQR(horizon=10)), Cart())]
planners += [(fp.MCTS(selection=rule), tree_model) for rule in ("puct", "uct", "gumbel")]
planners += [(tree(horizon=10), tree_model) for tree in (fp.Beam, fp.Rebase)]

for planner, model in planners:
    outcome = fp.plan(planner, model, problems, 2000)
    name = type(planner).__name__ + ("" if model is not tree_model else " over 3 forces")
    print(f"{name:20} returns {outcome.plan.value.round(2)} for {outcome.charged[:, 0]} nodes")
