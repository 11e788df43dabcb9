"""Non-local means: each pixel becomes a mean of all pixels, weighted by how alike their patches are.

That is attention: a patch is a query and a key, a pixel is a value.  16,384 of each here; the
matrix of weights would take 1 GiB.  Writes denoise.png: with noise, and without.
"""

import struct
import zlib

import numpy as np

import clattn


def save_png(name, gray):
    rows = b"".join(b"\0" + row.tobytes() for row in (gray.clip(0, 1) * 255).astype(np.uint8))
    head = struct.pack(">IIBBBBB", gray.shape[1], gray.shape[0], 8, 0, 0, 0, 0)
    with open(name, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + kind + data
                       + struct.pack(">I", zlib.crc32(kind + data)))


y, x = np.mgrid[-1:1:128j, -1:1:128j].astype(np.float32)
clean = 0.2 + 0.3 * (np.hypot(x, y) % 0.5 < 0.25) + 0.3 * (np.abs(x) < 0.3) * (y > 0)
noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)

patches = np.lib.stride_tricks.sliding_window_view(np.pad(noisy, 3, "reflect"), (7, 7))
p = patches.reshape(1, 1, -1, 49).astype(np.float32)
# exp(-|p - p'|^2 / h) is exp((2 p p' - p'^2) / h), up to what is the same for all p'.
one, square = np.ones_like(p[..., :1]), (p * p).sum(-1, keepdims=True)
v = noisy.reshape(1, 1, -1, 1).astype(np.float32)
o = clattn.attention(np.concatenate([2 * p, -one], -1), np.concatenate([p, square], -1), v,
                     scale=1 / (0.5 * 49 * 0.1**2))

denoised = o.reshape(clean.shape)
for name, image in (("noisy", noisy), ("denoised", denoised)):
    print(f"{name}: error {np.sqrt(np.mean((image - clean) ** 2)):.4f}")
save_png("denoise.png", np.hstack([noisy, denoised]))
