"""The controlled experiment: does the mask prior help, or does mask dropout only regularise? See docs/prior.md."""
