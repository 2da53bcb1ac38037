"""Measures Keeper beside its competitors, interleaved in one run: only ratios within one run count."""
