"""control/world_models/mlp"""
