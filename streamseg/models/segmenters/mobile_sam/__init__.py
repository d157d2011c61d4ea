"""MobileSAM for live pictures: the original network, rewritten for speed, in the fastest runtime of this machine."""
