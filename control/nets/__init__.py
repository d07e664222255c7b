"""control/nets"""
