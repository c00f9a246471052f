"""Image deblurring with region priors: SAM-Deblur, NAFNet and the tools around them."""

__version__ = '0.1.0'
