"""Network files: read safely, fitted to a network, written whole or not at all."""
