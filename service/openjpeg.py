"""Areas of JPEG 2000 images, decoded by the OpenJPEG library that eccodes itself uses.

Python packages around OpenJPEG decode whole images (imagecodecs, pylibjpeg), need a library of the system and
a file of its own for each image (glymur), or bring a second PROJ along (rasterio). The library is in the
process already, and the same one gives the same bits: a dozen of its functions are called directly.

Source: openjpeg.h of OpenJPEG 2.5, whose binary interface ``libopenjp2.so.7`` names; ISO/IEC 15444-1, annex A
(the marker segments of a codestream).
"""

from __future__ import annotations

import ctypes
import struct
from contextlib import ExitStack
from ctypes import POINTER, byref, c_int, c_int32, c_int64, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Final

import eccodes  # noqa: F401  its import brings the library into the process
import numpy as np
from numpy.typing import NDArray

_LIBRARY: Final = "libopenjp2.so.7"
_CODESTREAM: Final = 0
"""OPJ_CODEC_J2K: without the boxes of a JP2 file."""

_SIZE_OF_PARAMETERS: Final = 1 << 15
"""Bytes, more than ``opj_dparameters_t`` has: the library fills it, and nothing of it is changed here."""

_AT_END: Final = c_size_t(-1).value
_MOST_BITS: Final = 31

_START, _SIZE, _STYLE, _START_OF_TILE = b"\xff\x4f", b"\xff\x51", b"\xff\x52", b"\xff\x90"
_REVERSIBLE: Final = 1
_LEAST_HEADER: Final = 45
"""Bytes up to the end of the size of an image of one component."""

_Read = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_size_t, c_void_p)
_Skip = ctypes.CFUNCTYPE(c_int64, c_int64, c_void_p)
_Seek = ctypes.CFUNCTYPE(c_int, c_int64, c_void_p)


_COUNTS: Final = ("dx", "dy", "w", "h", "x0", "y0", "prec", "bpp", "sgnd", "resno_decoded", "factor")


class _Component(ctypes.Structure):
    """opj_image_comp_t."""

    _fields_ = (*((name, c_uint32) for name in _COUNTS), ("data", POINTER(c_int32)), ("alpha", c_uint16))


class _Image(ctypes.Structure):
    """opj_image_t."""

    _fields_ = (
        *((name, c_uint32) for name in ("x0", "y0", "x1", "y1", "numcomps")),
        ("color_space", c_int),
        ("comps", POINTER(_Component)),
        ("icc_profile_buf", c_void_p),
        ("icc_profile_len", c_uint32),
    )


@dataclass(frozen=True)
class Image:
    """What the main header of a codestream says.

    reversible: whether the wavelet is the one of integers, which gives an area the same numbers as the whole.
    """

    height: int
    width: int
    reversible: bool


@dataclass(frozen=True)
class Area:
    """Pixels from row ``top`` and column ``left`` up to, without, ``bottom`` and ``right``."""

    top: int
    left: int
    bottom: int
    right: int


def image(head: bytes) -> Image | None:
    """Of the first bytes of a codestream; None where they hold no main header of one plain component."""
    if len(head) < _LEAST_HEADER or not head.startswith(_START + _SIZE):
        return None
    right, bottom, left, top = struct.unpack_from(">4I", head, 8)
    (components,) = struct.unpack_from(">H", head, 40)
    depth, across, down = head[42:45]
    plain = components == 1 and depth < _MOST_BITS and (across, down) == (1, 1)
    reversible, offset = None, len(_START)
    while head[offset : offset + 2] != _START_OF_TILE:
        if offset + 16 > len(head):
            return None
        marker, length = head[offset : offset + 2], int.from_bytes(head[offset + 2 : offset + 4], "big")
        if marker == _STYLE:
            reversible = head[offset + 13] == _REVERSIBLE
        offset += 2 + length
    return Image(bottom - top, right - left, reversible) if plain and reversible is not None else None


def decode(codestream: bytes, area: Area) -> NDArray[np.int32] | None:
    """Pixels (row, column) of an area of the single component; None where the library cannot tell them.

    The library runs without the interpreter's lock, so that several threads decode at once.
    """
    library = _library()
    if library is None:
        return None
    with ExitStack() as stack:
        codec = library.opj_create_decompress(_CODESTREAM)
        stack.callback(library.opj_destroy_codec, codec)
        source = _Source(codestream)
        stream = source.open(library)
        stack.callback(library.opj_stream_destroy, stream)
        parameters = ctypes.create_string_buffer(_SIZE_OF_PARAMETERS)
        library.opj_set_default_decoder_parameters(parameters)
        found = POINTER(_Image)()
        stack.callback(lambda: library.opj_image_destroy(found))
        if not (
            library.opj_setup_decoder(codec, parameters)
            and library.opj_read_header(stream, codec, byref(found))
            and library.opj_set_decode_area(codec, found, *_on_reference_grid(found.contents, area))
            and library.opj_decode(codec, stream, found)
        ):
            return None
        component = found.contents.comps[0]
        shape = (area.bottom - area.top, area.right - area.left)
        if not component.data or (component.h, component.w) != shape:
            return None
        return np.ctypeslib.as_array(component.data, shape).copy()


def _on_reference_grid(whole: _Image, area: Area) -> tuple[int, int, int, int]:
    left, top = int(whole.x0), int(whole.y0)
    return left + area.left, top + area.top, left + area.right, top + area.bottom


class _Source:
    """Bytes as a stream of the library. It must live as long as the stream does."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0
        self._functions = (_Read(self._read), _Skip(self._skip), _Seek(self._seek))

    def open(self, library: ctypes.CDLL) -> c_void_p:
        """A stream that one read fills."""
        read, skip, seek = self._functions
        stream: c_void_p = library.opj_stream_create(max(len(self._content), 1), 1)
        library.opj_stream_set_user_data_length(stream, len(self._content))
        library.opj_stream_set_read_function(stream, read)
        library.opj_stream_set_skip_function(stream, skip)
        library.opj_stream_set_seek_function(stream, seek)
        return stream

    def _read(self, target: int, size: int, _: int) -> int:
        part = self._content[self._position : self._position + size]
        ctypes.memmove(target, part, len(part))
        self._position += len(part)
        return len(part) or _AT_END

    def _skip(self, size: int, _: int) -> int:
        self._position += size
        return size

    def _seek(self, position: int, _: int) -> int:
        self._position = position
        return 1


@cache
def _library() -> ctypes.CDLL | None:
    """The library that is loaded under this name; None where eccodes was built with another or without."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    pointer, image_pointer = c_void_p, POINTER(_Image)
    signatures: dict[str, tuple[object, tuple[object, ...]]] = {
        "opj_create_decompress": (pointer, (c_int,)),
        "opj_destroy_codec": (None, (pointer,)),
        "opj_set_default_decoder_parameters": (None, (pointer,)),
        "opj_setup_decoder": (c_int, (pointer, pointer)),
        "opj_stream_create": (pointer, (c_size_t, c_int)),
        "opj_stream_destroy": (None, (pointer,)),
        "opj_stream_set_user_data_length": (None, (pointer, c_uint64)),
        "opj_stream_set_read_function": (None, (pointer, _Read)),
        "opj_stream_set_skip_function": (None, (pointer, _Skip)),
        "opj_stream_set_seek_function": (None, (pointer, _Seek)),
        "opj_read_header": (c_int, (pointer, pointer, POINTER(image_pointer))),
        "opj_set_decode_area": (c_int, (pointer, image_pointer, c_int32, c_int32, c_int32, c_int32)),
        "opj_decode": (c_int, (pointer, pointer, image_pointer)),
        "opj_image_destroy": (None, (image_pointer,)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
