"""The stages of preparing a benchmark, one module each, in the order convert, crops, predeblur, masks, group, lmdb."""
