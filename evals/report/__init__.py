"""evals/report"""
