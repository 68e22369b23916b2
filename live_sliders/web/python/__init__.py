"""What stands in for the Jupyter kernel in the reader's browser: comms, display, figures."""
