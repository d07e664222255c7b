"""evals/cli"""
