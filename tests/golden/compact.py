"""Writes the golden cases into one archive, with what the tests read: weights, tokenizers, ids, and the logits of tokens that are decoded.

    python tests/golden/compact.py GOLDEN tests/golden.tar.xz

GOLDEN is a folder of cases with the folders `models`, `gguf` and `tokenizers`, such as `.cache/golden`. Of each prompt's logits the last
25 rows are kept, which are those of the prompt's last token and of the 24 tokens after it; of the inner states the residual stream.
`cargo xtask setup` unpacks the archive into `.cache/golden`. The same input gives the same bytes.
"""
import io
import json
import struct
import sys
import tarfile
from pathlib import Path

ROWS = 25


def compact(data: bytes) -> bytes:
    """Removes the rows and tensors that no test reads from a safetensors file of reference values."""
    (size,) = struct.unpack("<Q", data[:8])
    header, values = json.loads(data[8 : 8 + size]), data[8 + size :]
    kept, out = {}, bytearray()
    for name, entry in sorted(header.items()):
        if not name.startswith(("logits.", "hidden.")):
            continue
        start, end = entry["data_offsets"]
        rows, width = entry["shape"]
        if name.startswith("logits."):
            start = end - min(rows, ROWS) * (end - start) // rows
        kept[name] = {"dtype": entry["dtype"], "shape": [min(rows, ROWS) if name.startswith("logits.") else rows, width],
                      "data_offsets": [len(out), len(out) + end - start]}
        out += values[start:end]
    text = json.dumps(kept, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(out)


def main() -> None:
    golden, archive = Path(sys.argv[1]), sys.argv[2]
    with tarfile.open(archive, "w:xz", preset=9, format=tarfile.USTAR_FORMAT) as out:
        for part in ("models", "gguf", "tokenizers"):
            for path in sorted((golden / part).rglob("*")):
                if not path.is_file():
                    continue
                data = path.read_bytes()
                if path.name == "golden.safetensors":
                    data = compact(data)
                entry = tarfile.TarInfo(str(path.relative_to(golden)))
                entry.size, entry.mode = len(data), 0o644
                out.addfile(entry, io.BytesIO(data))


main()
