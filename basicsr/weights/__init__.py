"""Network files: read them safely, load them into a network, write them."""
