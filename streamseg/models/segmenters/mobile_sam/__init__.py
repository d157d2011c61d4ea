"""MobileSAM for live pictures: the same network, rewritten for speed and run by whichever runtime is fastest here."""
