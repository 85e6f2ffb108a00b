"""Picture files that Pillow cannot write, made of bytes or by tifffile."""

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageCms

Array = np.ndarray[Any, Any]

# 64 x 48 pixels to be turned to the right, dark to bright from left to right with a white corner; a description in EXIF
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAAAAAERAAAIA"
    "AQAAAAAB7AABAAAAAAAAACcAAgAAAAACEwABAAAAAAAAADYAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlm"
    "AAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroC"
    "QGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAA"
    "AAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEA"
    "AQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAGVtZGF0AAAAIygBrxmA9wt9LvTWYlvYXuXqbOy8eLMWlWJqrhGt1zvOkBiYAAAABkV4aWYA"
    "AE1NACoAAAAIAAIBDgACAAAABgAAACYBEgADAAAAAQAGAAAAAAAAQm94IDcA"
)


def tiff(pixels: Array | list[Array], **options: Any) -> bytes:
    """A TIFF file by tifffile, with a page for each array; `description` may be a list, with a text for each."""
    file = {name: options.pop(name) for name in ("byteorder", "bigtiff") if name in options}
    pages = pixels if isinstance(pixels, list) else [pixels]
    descriptions = options.pop("description", None)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **file) as writer:
        for number, page in enumerate(pages):
            text = descriptions[number] if isinstance(descriptions, list) else descriptions
            writer.write(page, metadata=None, software=False, description=text, **{"photometric": "minisblack", **options})
    return buffer.getvalue()


def raw_tiff(tags: dict[int, tuple[int, int, int]], data: bytes = b"", next_directory: int = 0) -> bytes:
    """A little-endian TIFF file of one directory; its entries are type, count and value or offset. The data are at offset 8."""
    entries = [struct.pack("<HHII", number, *entry) for number, entry in sorted(tags.items())]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", next_directory)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def gray_tags(width: int = 10, height: int = 10, size: int = 100) -> dict[int, tuple[int, int, int]]:
    """The entries of a gray picture of 8 bits, whose data are one strip at offset 8."""
    return {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8), 277: (3, 1, 1),
        278: (4, 1, height), 279: (4, 1, size),
    }  # fmt: skip


def png(pixels: Array, color_type: int, chunks: bytes = b"") -> bytes:
    """A PNG file of 8 or 16 bits, `(h,w)` or `(h,w,channels)`, without filters."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    packed = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def masked_bmp(channels: list[Array], masks: list[int], bits: int, top_down: bool = False) -> bytes:
    """A BMP file whose channels, in 0 to 255, are given by masks."""
    height, width = channels[0].shape
    pixels = np.zeros((height, width), np.uint32)
    for channel, mask in zip(channels, masks, strict=True):
        shift = (mask & -mask).bit_length() - 1
        pixels |= (channel.astype(float) * (mask >> shift) / 255).round().astype(np.uint32) << shift
    row = -(-width * bits // 32) * 4
    data = np.zeros((height, row), np.uint8)
    data[:, : width * bits // 8] = np.ascontiguousarray(pixels.astype(f"<u{bits // 8}")).view(np.uint8)
    fields = 124, width, -height if top_down else height, 1, bits, 3, row * height, 11811, 11811, 0, 0
    header = struct.pack("<IiiHHIIiiII", *fields) + struct.pack("<4I", *masks, *[0] * (4 - len(masks)))
    return (
        b"BM"
        + struct.pack("<IHHI", 138 + row * height, 0, 0, 138)
        + header.ljust(124, b"\0")
        + data[:: -1 if not top_down else 1].tobytes()
    )


def run_length_bmp(gray: Array, bits: int) -> bytes:
    """A BMP file of 4 or 8 bits a pixel, with a palette of gray levels; its rows are runs and literal pixels by turns."""
    height, width = gray.shape
    white = 2**bits - 1
    data = b""
    for number, row in enumerate(np.rint(gray * (white / 255)).astype(np.uint8)[::-1]):
        pairs = np.append(row, 0)[: (width + 1) // 2 * 2].reshape(-1, 2)
        packed = (row if bits == 8 else pairs[:, 0] * 16 + pairs[:, 1]).astype(np.uint8).tobytes()
        if number % 2:
            data += bytes((0, width)) + packed + bytes(len(packed) % 2)
        else:
            step = 8 // bits  # pixels of a run; with 4 bits the two colors of a byte alternate
            data += b"".join(bytes((min(step, width - step * place), byte)) for place, byte in enumerate(packed))
        data += b"\0\0"
    data += b"\0\1"
    palette = b"".join(bytes((index * 255 // white,) * 3 + (0,)) for index in range(white + 1))
    offset = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 1 if bits == 8 else 2, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


def lossless_jpeg(gray: Array) -> bytes:
    """A JPEG file of the lossless process (SOF3), whose samples are differences from the neighbor on the left."""
    left = np.concatenate((np.concatenate(([128], gray[:-1, 0]))[:, None], gray[:, :-1]), axis=1).astype(int)
    bits = []
    for difference in (gray.astype(int) - left).ravel().tolist():
        size = abs(difference).bit_length()
        value = difference if difference >= 0 else difference + 2**size - 1
        bits.append(f"{size:04b}" + (f"{value:0{size}b}" if size else ""))
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    data = int(stream, 2).to_bytes(len(stream) // 8).replace(b"\xff", b"\xff\0")
    height, width = gray.shape
    frame = struct.pack(">BHHB3B", 8, height, width, 1, 1, 0x11, 0)
    codes = bytes([0, 0, 0, 0, 9, *[0] * 12, *range(9)])  # nine codes of four bits
    parts = (0xC3, frame), (0xC4, codes), (0xDA, bytes([1, 1, 0, 1, 0, 0]))
    segments = b"".join(b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(content)) + content for marker, content in parts)
    return b"\xff\xd8" + segments + data + b"\xff\xd9"


def icc_profile(space: bytes, tags: dict[bytes, bytes], name: str = "test", kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2."""
    text = b"desc" + bytes(4) + struct.pack(">L", len(name) + 1) + name.encode() + bytes(79)
    contents = {b"desc": text, b"wtpt": xyz(0.9642, 1.0, 0.8249), **tags}
    place, table, body = 128 + 4 + 12 * len(contents), b"", b""
    for tag, content in contents.items():
        table += tag + struct.pack(">LL", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">L", place + len(body)) + bytes(4) + struct.pack(">L", 0x02400000) + kind + space + pcs
    head += bytes(12) + b"acsp" + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]
    return head.ljust(128, b"\0") + struct.pack(">L", len(contents)) + table + body


def xyz(*values: float) -> bytes:
    """A tag of an ICC profile with a color in XYZ."""
    return b"XYZ " + bytes(4) + struct.pack(">3l", *(round(value * 65536) for value in values))


def curve(gamma: float) -> bytes:
    """A tag of an ICC profile with a gamma."""
    return b"curv" + bytes(4) + struct.pack(">LH", 1, round(gamma * 256))


def gray_profile(gamma: float) -> bytes:
    """A profile of gray with a gamma."""
    return icc_profile(b"GRAY", {b"kTRC": curve(gamma)})


def rgb_profile(gamma: float, name: str) -> bytes:
    """A profile with the primaries of sRGB and another gamma."""
    primaries = {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7141)}
    curves = {tag: curve(gamma) for tag in (b"rTRC", b"gTRC", b"bTRC")}
    return icc_profile(b"RGB ", {tag: xyz(*values) for tag, values in primaries.items()} | curves, name)


def cmyk_profile() -> bytes:
    """A profile of CMYK whose lightness is 100 * (1 - K), whatever the other inks are."""
    ramp = bytes(range(256))
    lightness = [0 if node % 2 else 255 for node in range(16)]  # K is the ink that varies fastest
    nodes = b"".join(bytes([level, 128, 128]) for level in lightness)
    matrix = struct.pack(">9l", *(65536 * (place in (0, 4, 8)) for place in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + nodes + ramp * 3
    return icc_profile(b"CMYK", {b"A2B0": table}, kind=b"prtr", pcs=b"Lab ")


def srgb_profile() -> bytes:
    """The profile of sRGB that littleCMS makes."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def luma(rgb: Array) -> Array:
    """The luma of RGB of 8 bits, as Pillow computes it."""
    return np.asarray(Image.fromarray(rgb).convert("L"))
