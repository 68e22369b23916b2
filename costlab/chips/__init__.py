"""The chip lever."""
