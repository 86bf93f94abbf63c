"""The one decoder of pictures: every kind of pixel becomes the right 8 bits, or one message that names the file."""

import io
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from equiview import pictures
from equiview.errors import EquiviewError
from equiview.io import image_hw, natural_order, picture_files, posed_pixels, read_image, stored_hw
from equiview.types import Camera, PosedImage

GREY = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
RGB = np.stack([GREY, 255 - GREY, np.full_like(GREY, 40)], -1)
DEEP = GREY.astype(np.uint16) * 257  # What 16-bit values these 8-bit values are.


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(path: Path, w: int, h: int) -> Path:
    """Write a PNG whose header names a size; nothing of it can be decoded."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    return path


def with_orientation(path: Path, rgb: np.ndarray, value: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(rgb).save(path, exif=exif)
    return path


def rgb_as(mode: str) -> Image.Image:
    return Image.fromarray(RGB).convert(mode)


PIXELS = {
    "8-bit colour": ("a.png", Image.fromarray(RGB), RGB),
    "8-bit grey": ("a.png", Image.fromarray(GREY), np.repeat(GREY[..., None], 3, -1)),
    "16-bit grey png": ("a.png", Image.fromarray(DEEP), np.repeat(GREY[..., None], 3, -1)),
    "16-bit grey tiff": ("a.tif", Image.fromarray(DEEP), np.repeat(GREY[..., None], 3, -1)),
    "float tiff from 0 to 1": ("a.tif", Image.fromarray(GREY / np.float32(255)), np.repeat(GREY[..., None], 3, -1)),
    "32-bit integers of 8-bit values": (
        *("a.tif", Image.fromarray(GREY.astype(np.int32))),
        np.repeat(GREY[..., None], 3, -1),
    ),
    "truth values": ("a.png", Image.fromarray(GREY > 99), np.repeat(255 * (GREY > 99)[..., None], 3, -1)),
    "alpha is dropped": ("a.png", Image.fromarray(np.dstack([RGB, GREY])), RGB),
    "grey with alpha": ("a.png", Image.fromarray(np.stack([GREY, GREY], -1)), np.repeat(GREY[..., None], 3, -1)),
    "four inks": ("a.tif", rgb_as("CMYK"), np.asarray(rgb_as("CMYK").convert("RGB"))),
    "palette": ("a.png", rgb_as("P"), np.asarray(rgb_as("P").convert("RGB"))),
    "gif": ("a.png.gif", rgb_as("P"), np.asarray(rgb_as("P").convert("RGB"))),
}


@pytest.mark.parametrize(("name", "image", "expected"), PIXELS.values(), ids=PIXELS)
def test_every_kind_of_pixel_becomes_the_right_colours(tmp_path, name, image, expected):
    image.save(tmp_path / name)
    found = read_image(tmp_path / name)
    assert found.dtype == np.uint8 and np.abs(found.astype(int) - expected).max() <= 1
    with pictures.opened(tmp_path / name, name) as opened:
        assert np.abs(pictures.rgba(opened, name)[..., :3].astype(int) - expected).max() <= 1


def test_transparency_is_kept_where_it_is_asked_for(tmp_path):
    Image.fromarray(np.dstack([RGB, GREY])).save(tmp_path / "a.png")
    with pictures.opened(tmp_path / "a.png", "a") as opened:
        assert np.array_equal(pictures.rgba(opened, "a")[..., 3], GREY)


WITHOUT_RANGE = {
    "floats up to 255": GREY.astype(np.float32),
    "negative floats": GREY / np.float32(-255),
    "NaN": np.full((8, 8), np.nan, np.float32),
    "infinity": np.full((8, 8), np.inf, np.float32),
    "16-bit values in 32 bits": DEEP.astype(np.int32),
    "32-bit values": DEEP.astype(np.int32) * 30000,
    "negative integers": -GREY.astype(np.int32) - 1,
}


@pytest.mark.parametrize("values", WITHOUT_RANGE.values(), ids=WITHOUT_RANGE)
def test_values_without_a_range_are_refused_and_not_turned_black_or_white(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(EquiviewError, match=r"a.tif: expected a picture of 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("values", [DEEP, GREY.astype(np.int32) * 300, GREY / np.float32(7)], ids=["16", "32", "float"])
def test_rasters_keep_their_exact_values(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pictures.opened(tmp_path / "a.tif", "a") as opened:
        assert np.array_equal(pictures.values(opened), values)


def test_text_and_profiles_of_any_size_do_not_matter(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("scene", "x" * 3_000_000, zip=True)
    text.add_itxt("more", "y" * 3_000_000, zip=True)
    text.add_text("plain", "z" * 80_000_000)  # Above Pillow's limit of all text together.
    Image.fromarray(RGB).save(tmp_path / "a.png", pnginfo=text, icc_profile=bytes(3_000_000))
    assert np.array_equal(read_image(tmp_path / "a.png"), RGB)
    assert image_hw(tmp_path / "a.png") == (8, 8)
    with pictures.opened((tmp_path / "a.png").read_bytes(), "a") as opened:
        assert np.array_equal(pictures.rgb(opened, "a"), RGB)


@pytest.mark.parametrize("wh", [(16384, 16384), (13000, 13000), (12000, 11300), (2**30, 2**30), (2**31 - 1, 1)])
def test_too_many_pixels_are_refused_by_the_header(tmp_path, wh):
    path = png_of_size(tmp_path / "big.png", *wh)
    for read in (read_image, image_hw):
        with pytest.raises(EquiviewError, match=r"big.png: expected a picture of at most 134 million pixels"):
            read(path)


def test_large_pictures_below_the_limit_give_no_warning(tmp_path, recwarn):
    assert image_hw(png_of_size(tmp_path / "large.png", 11000, 12000)) == (12000, 11000)
    assert not recwarn.list


def test_an_eps_file_with_another_name_starts_no_program(tmp_path, monkeypatch):
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "check_call", start)
    monkeypatch.setattr(subprocess, "Popen", start)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(eps)
    for source in (tmp_path / "a.png", eps):
        with pytest.raises(EquiviewError, match="expected an image that opens"), pictures.opened(source, "a") as image:
            image.load()


def saved(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, form, **options)
    return file.getvalue()


def spoiled() -> dict[str, bytes]:
    png, tiff = saved("PNG"), saved("TIFF")
    head, end = png[:33], chunk(b"IEND", b"")
    broken = {
        "nothing": b"",
        "text": b"no picture",
        "half a png": png[: len(png) // 2],
        "a png of a magic number": png[:8],
        "a png without pixels": head + end,
        "a png with broken pixels": head + chunk(b"IDAT", b"x" * 50) + end,
        "a png with an endless chunk": head + struct.pack(">I", 2**32 - 1) + b"IDAT" + b"x" * 9,
        "a png with a short header": png[:8] + chunk(b"IHDR", b"\0" * 3) + png[33:],
        "a png without a palette": png[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 3, 0, 0, 0)) + end,
        "a png with a depth of 99": png[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 99, 2, 0, 0, 0)) + png[33:],
        "a png of 0 pixels": png[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)) + png[33:],
        "half a tiff": tiff[: len(tiff) // 2],
        "a tiff without a directory": tiff[:8],
        "a dds of text": b"DDS " + b"x" * 200,
        "a gif of a header": b"GIF89a\x08\0\x08\0\x80\0\0",
        "a bmp of a header": saved("BMP")[:40],
        "a bmp of another depth": saved("BMP")[:28] + b"\x63" + saved("BMP")[29:],
        "half a jpeg": saved("JPEG")[:200],
        "half a webp": saved("WEBP", lossless=True)[:40],
        "a ppm of words": b"P6 a b c\n",
        "a ppm of no size": b"P6 -1 8 255\n",
    }
    return broken


@pytest.mark.parametrize("data", spoiled().values(), ids=spoiled())
def test_every_broken_picture_is_one_message(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(EquiviewError, match=r"a.png: expected an image that opens, found .*\. \w"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "TGA", "PPM", "DDS"])
def test_a_picture_with_any_byte_changed_is_read_or_one_message(form):
    good, rng = saved(form), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(good)
        for at in rng.integers(0, min(len(data), 400), 4):
            data[at] = rng.integers(256)
        try:
            with pictures.opened(bytes(data), "a") as image:
                pictures.rgba(image, "a")
        except EquiviewError as error:
            assert str(error).startswith("a: expected")


@pytest.mark.parametrize("value", range(1, 9))
def test_pictures_come_as_viewers_show_them_and_with_a_camera_as_they_are_stored(tmp_path, value):
    rgb = np.zeros((10, 20, 3), np.uint8)
    rgb[:5, :5] = 255  # The corner that tells where the picture was turned to.
    path = with_orientation(tmp_path / "a.png", rgb, value)
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[value]
    shown = read_image(path)
    assert shown.shape[:2] == image_hw(path) == ((10, 20) if value < 5 else (20, 10))
    assert shown[-1 if corner[0] else 0, -1 if corner[1] else 0].all() and shown.astype(bool).sum() == 75
    assert stored_hw(path) == (10, 20)
    assert np.array_equal(read_image(path, (10, 20)), rgb)
    camera = Camera(np.diag([9.0, 9.0, 1.0]), np.eye(4), (10, 20))
    assert np.array_equal(posed_pixels(PosedImage(path, camera)), rgb)
    if value > 4:  # A tool that turned the picture first: only the turned one is as large as the camera says.
        assert np.array_equal(read_image(path, (20, 10)), shown)


ORDERS = {
    "numbers without zeros": ["frame_2.png", "frame_10.png", "frame_100.png"],
    "digits in the tail of a name": [
        f"frame_{i}_jpg.rf.{hash_}.jpg" for i, hash_ in enumerate(["3f2a1b", "9c", "77ab", "0"])
    ],
    "two numbers": ["shot_1_9.png", "shot_1_10.png", "shot_2_1.png"],
    "seconds": ["0.5.png", "1.png", "1.5.png", "2.png", "2.25.png", "2.5.png", "10.png"],
    "times": ["1305031102.175304.png", "1305031102.211214.png", "1305031103.01.png"],
    "more digits than a number may have": ["a1.png", f"a{'9' * 200}.png"],
    "other digits": ["a\u00b2.png", "a\u0663.png"],
    "no digits": ["a.png", "b.jpg"],
}


@pytest.mark.parametrize("names", ORDERS.values(), ids=ORDERS)
def test_pictures_of_a_folder_come_as_people_count(tmp_path, names):
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in picture_files(tmp_path)] == names
    assert [path.name for path in natural_order(tmp_path / name for name in names[::-1])] == names


def test_hidden_and_system_files_are_passed_over(tmp_path):
    for name in ("a.png", "._a.png", ".b.png", "Thumbs.db", "desktop.ini", ".DS_Store", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    assert [path.name for path in picture_files(tmp_path)] == ["a.png"]
