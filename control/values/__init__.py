"""control/values"""
