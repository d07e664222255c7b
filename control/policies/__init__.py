"""control/policies"""
