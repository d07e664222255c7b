"""control/world_models/residual"""
