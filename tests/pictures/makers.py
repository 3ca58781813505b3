"""Small files with everything in them, for the tests of pictures."""

from __future__ import annotations

import io
import struct

import numpy as np
import tifffile
from PIL import Image, ImageCms

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description dc:title="hills"/></x:xmpmeta>'
IPTC = b"\x1c\x02\x78\x00\x05hills\x1c\x02\x50\x00\x03Ann"
COMMENT = b"made by hand"

ULTRA_HDR = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
    b'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    b'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
    b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" '
    b'hdrgm:Version="1.0" xmpNote:HasExtendedXMP="0123" GCamera:MotionPhoto="1" GCamera:BurstID="7" xmp:Rating="4">'
    b'<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource">'
    b'<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="123"/></rdf:li></rdf:Seq>'
    b"</Container:Directory><xmp:Thumbnails><rdf:Alt><rdf:li>QUJD</rdf:li></rdf:Alt></xmp:Thumbnails>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    """Bytes of a Pillow image in a format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff_of(pixels: np.ndarray, **options) -> bytes:
    """Bytes of a TIFF as tifffile writes it."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def jpeg_with(photo: np.ndarray, *segments: tuple[int, bytes], **options) -> bytes:
    """A JPEG with more markers (code, body) behind its first one."""
    data = file_of(Image.fromarray(photo), "JPEG", quality=95, **options)
    extra = b"".join(struct.pack(">BBH", 0xFF, code, len(body) + 2) + body for code, body in segments)
    return data[:2] + extra + data[2:]


def iptc_segment(iptc: bytes = IPTC) -> tuple[int, bytes]:
    """IPTC as Photoshop writes it, behind a preview that must not be kept."""
    preview = b"8BIM" + struct.pack(">HHI", 0x040C, 0, 4) + b"JPEG"
    block = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    return 0xED, b"Photoshop 3.0\0" + preview + block


def full_exif(preview: bytes = b"") -> bytes:
    """EXIF with a maker, a date, a place and, where given, a preview."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    block = exif.tobytes()
    if not preview:
        return block
    order, tiff = ">", block[6:]
    (start,) = struct.unpack_from(">I", tiff, 4)
    (count,) = struct.unpack_from(">H", tiff, start)
    tiff = bytearray(tiff)
    struct.pack_into(">I", tiff, start + 2 + 12 * count, len(tiff))
    at = len(tiff) + 2 + 2 * 12 + 4
    entries = struct.pack(">HHII", 0x0201, 4, 1, at) + struct.pack(">HHII", 0x0202, 4, 1, len(preview))
    return block[:6] + bytes(tiff) + struct.pack(order + "H", 2) + entries + bytes(4) + preview
