"""control/world_models/ensemble"""
