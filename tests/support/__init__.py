"""What several tests share: makers of pictures, clips and checkpoints; servers; runs of the command; the original MobileSAM."""
