"""Networks from and for elsewhere: recognise their files, convert them, export programs."""
