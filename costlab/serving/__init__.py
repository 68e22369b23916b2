"""Serving: requests, queues, batches and pools, simulated step by step and planned.

Chapter: serving
"""
