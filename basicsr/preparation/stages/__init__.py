"""The stages of preparing a benchmark, one module each: convert, crops, predeblur, masks, group, lmdb (in lmdb_copies).

Each module has ``run(plan, part, pool)``. All but convert have ``settings(plan, part)``: the settings that
determine its files.
"""
