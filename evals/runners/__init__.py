"""evals/runners"""
