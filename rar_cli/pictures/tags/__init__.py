"""What a file says beside its pixels: EXIF, XMP, IPTC, comments, second pictures."""
