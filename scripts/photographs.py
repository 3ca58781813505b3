"""More photographs to train on, from packages of Debian's main archive, all under free terms.

    mkdir debs packages
    cd debs && apt-get download endless-sky-high-dpi=0.11.0-1 mate-backgrounds=1.26.0-1 && cd ..  # and so on
    for deb in debs/*.deb; do name=${deb##*/}; dpkg-deb -x "$deb" "packages/${name%_*}"; done
    python scripts/photographs.py packages/ photographs/

`photographs.txt` names packages, versions (of the releases bookworm and sid) and files. Writes PHOTOGRAPHS/*.png. A
file whose compression shows is reduced. All were looked at as thumbnails: no drawings, renders, screens or fog. None
is nearer than 40 of 256 bits of difference hash to another, or to a photograph that rar trains, validates or tests
on. The `copyright` file of each package names the authors.
"""

import argparse
from pathlib import Path

import cv2

LIST = Path(__file__).with_suffix(".txt")

LONGEST_PX = 1600


def scale(pixels: int, size: int, longest: int, lossless: bool) -> float:
    """How much to reduce a file of `size` bytes: the fewer bits a pixel has, the more."""
    bits = 8 * size / pixels
    clean = 1.0 if lossless or bits > 2.0 else 0.75 if bits > 1.2 else 0.5
    return min(clean, LONGEST_PX / longest)


def main() -> None:
    """Write the photographs; a file that is not there ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("photographs", type=Path)
    options = parser.parse_args()
    options.photographs.mkdir(parents=True, exist_ok=True)
    for at, line in enumerate(LIST.read_text().splitlines()):
        package, name = line.split(" ", 1)
        path = options.packages / package / name
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            parser.error(f"{path}: not there, or no picture; unpack {package} into {options.packages}")
        height, width = image.shape[:2]
        part = scale(height * width, path.stat().st_size, max(height, width), path.suffix == ".png")
        if part < 1.0:
            image = cv2.resize(image, None, fx=part, fy=part, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(options.photographs / f"{at:03d}.png"), image)


if __name__ == "__main__":
    main()
