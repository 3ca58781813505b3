"""XMP of an output: removes the entries that describe other pictures in the file.

Gain maps, depth, motion and previews show the old picture, or are no longer there.
"""

from __future__ import annotations

import re

WHOLE = {
    b"http://ns.adobe.com/hdr-gain-map/1.0/": "gain map",
    b"http://ns.apple.com/HDRGainMap/1.0/": "gain map",
    b"http://ns.google.com/photos/1.0/container/": "pictures inside",
    b"http://ns.google.com/photos/1.0/container/item/": "pictures inside",
    b"http://ns.google.com/photos/1.0/depthmap/": "depth map",
    b"http://ns.google.com/photos/1.0/image/": "original inside",
    b"http://ns.google.com/photos/dd/1.0/container/": "pictures inside",
    b"http://ns.google.com/photos/dd/1.0/device/": "depth map",
    b"http://ns.apple.com/pixeldatainfo/1.0/": "pictures inside",
}
"""Namespaces that only speak of other pictures."""

SINGLE = {
    b"http://ns.google.com/photos/1.0/camera/": (rb"(?:MotionPhoto|MicroVideo)\w*", "motion"),
    b"http://ns.adobe.com/xmp/note/": (rb"HasExtendedXMP", "second part of XMP"),
    b"http://ns.adobe.com/xap/1.0/": (rb"Thumbnails", "preview"),
}
"""Names of other namespaces that do."""


def without_promises(xmp: bytes) -> tuple[bytes, tuple[str, ...]]:
    """(XMP without what it says of other pictures, what that was); the same bytes where it says nothing."""
    gone: dict[str, None] = {}
    for prefix, namespace in re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']([^\"']*)[\"']", xmp):
        names, what = (rb"\w+", WHOLE[namespace]) if namespace in WHOLE else SINGLE.get(namespace, (b"", ""))
        if not names:
            continue
        shorter = _without(xmp, re.escape(prefix) + b":" + names)
        if shorter != xmp:
            gone[what] = None
            xmp = shorter
    return xmp, tuple(gone)


def upright(xmp: bytes) -> bytes:
    """The same with the orientation that a picture has once it is turned."""
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))\d", rb"\g<1>1", xmp)


def _without(xmp: bytes, name: bytes) -> bytes:
    """XMP without elements and attributes of a name, a pattern."""
    xmp = re.sub(rb"\s*<(" + name + rb")(?:\s[^<>]*)?(?:/>|>.*?</\1\s*>)", b"", xmp, flags=re.DOTALL)
    return re.sub(rb"\s+" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
