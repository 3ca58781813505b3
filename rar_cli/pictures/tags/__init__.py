"""What a file holds beside its pixels: EXIF, XMP, IPTC, comments, second pictures."""
