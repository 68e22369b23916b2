"""Models as graphs of operators: captured, exported, and their experts spread over cards.

Chapter: chips
"""
