"""What every room uses and what uses none of them: registries, errors, images, network files, logging."""
