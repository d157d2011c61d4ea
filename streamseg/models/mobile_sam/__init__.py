"""MobileSAM: TinyViT-5M encoder, SAM's prompt encoder and mask decoder."""
