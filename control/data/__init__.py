"""control/data"""
