"""evals/records"""
